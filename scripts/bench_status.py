"""Measures the time of `nucleus status` on very many image shards, and its requests to the store.

One image shard of five pictures is ingested, measured, compared and selected; all others are copies
of its parts (`nucleus_data.world.many`). The time of the answer is measured in this process,
without imports: on a local disk, with and without the counts that a finished run left; and on a
store that answers each request in 30 ms. For that store, the rows also show the number of requests,
the number of sequential ones (the largest set in which no two overlap), and the maximum number of
concurrent ones.

    python scripts/bench_status.py                          # 100 and 1,000 shards, five rounds
    python scripts/bench_status.py --quick --json status.json
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.line.counting import leave_counts
from nucleus_data.line.lines import run_line
from nucleus_data.line.recipe import Recipe, load_recipe
from nucleus_data.line.steps import open_run
from nucleus_data.runner.run import Run
from nucleus_data.stages.select import check
from nucleus_data.views.status import status
from nucleus_data.views.status_lines import status_lines
from nucleus_data.world.corpora import scene_jpegs
from nucleus_data.world.many import copy_parts, copy_published
from nucleus_data.world.throttled import counted, throttled
from scripts.benchmark import Measure, measure, parser, publish

RECIPE = Path(__file__).parents[1] / "configs/nano/recipe.yaml"
# Three tables of signals, fewer than in the recipe, so that a corpus is made in seconds.
SETTINGS = (
    "inspect.signals=[file, hash, tone]",
    "select.rules={tiny: 'least(width, height) < 20'}",
    "select.prefer=[width * height desc, bytes desc]",
)
STEPS = ("ingest", "inspect", "dedup", "compare", "select")
WHOLE = ("dedup", "compare", "selection")
DELAY_S = 0.03
GOAL_S = 1.5


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    shards: tuple[int, ...] = (100, 1000)
    rounds: int = 5


QUICK = Size((20, 60), 1)


def recipe(
    folder: Path, corpus: str, options: Mapping[str, Any] | None = None, *overrides: str
) -> Recipe:
    """Returns the recipe of the corpora, for pictures in a folder.

    Args:
        folder: The folder that contains the pictures.
        corpus: Path or URL of the corpus.
        options: Options for fsspec.
        overrides: Further settings.
    """
    given = [f"storage_options.{name}={value}" for name, value in (options or {}).items()]
    source = f"ingest.source={folder / 'pictures'}"
    return load_recipe(RECIPE, [f"corpus={corpus}", source, *given, *SETTINGS, *overrides])


def make_one(folder: Path) -> Corpus:
    """Makes the shard that all others copy: three pictures, a duplicate and a broken one."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    images = scene_jpegs(3, 64)
    for name, data in enumerate([*images, images[0], b"broken"]):
        (pictures / f"{name}.jpg").write_bytes(data)
    run_line(recipe(folder, str(folder / "one")), STEPS, inline=True, say=lambda _: None)
    return Corpus(str(folder / "one"))


def make_corpus(folder: Path, one: Corpus, shards: int, first: int = 0) -> Corpus:
    """Makes a corpus of many shards, measured and selected.

    Args:
        folder: The folder in which `make_one` made the corpus to copy.
        one: The corpus to copy.
        shards: Number of shards.
        first: Number of the first shard.
    """
    corpus = Corpus(str(folder / f"{shards}-from-{first}"), create=True)
    numbers = range(first, first + shards)
    copy_parts(one.store.path("claims"), corpus, "claims", numbers)
    for name in one.store.list("tables"):
        for hashed in one.config_hashes(name) if name not in WHOLE else ():
            table = f"tables/{name}/{hashed}"
            copy_parts(one.store.path(table), corpus, table, numbers)
    made = recipe(folder, corpus.uri)
    stages, run = made.stages(), quiet(made)
    # The hash of a corpus-wide table depends on all parts of earlier tables, so it is only known
    # once these exist.
    for name, table in (("dedup", "dedup"), ("compare", "compare"), ("select", "selection")):
        stage: Any = stages[name]
        hashed = stage.pin(run)[table]
        (old,) = one.config_hashes(table)
        source = one.store.path(f"tables/{table}/{old}")
        copy_parts(source, corpus, f"tables/{table}/{hashed}", numbers, config_hash=hashed)
        copy_published(source, corpus, f"tables/{table}/{hashed}", shards)
    return corpus


def quiet(made: Recipe, command: str = "look") -> Run:
    """Makes a dry run that prints nothing."""
    return open_run(made, command, dry_run=True, say=lambda _: None)


def finish_a_run(made: Recipe) -> None:
    """Stores the counts that a finished run leaves."""
    run, stages = open_run(made, "select", say=lambda _: None), made.stages()
    select: Any = stages["select"]
    run.pin(select.found(run))
    leave_counts(run, stages["inspect"])


def asked(made: Recipe) -> list[str]:
    """Returns the lines that `nucleus status` prints."""
    return list(status_lines(status(quiet(made), made.stages())))


def bench(folder: Path, size: Size) -> Iterator[Measure]:
    """Measures everything, and yields the rows."""
    original = make_one(folder)
    for shards in size.shards:
        corpus = make_corpus(folder, original, shards)
        title = f"{shards:,} shards"
        for left in (False, True):
            how = "counts left by a run" if left else "from footers"
            if left:
                finish_a_run(recipe(folder, corpus.uri))
            taken = [_timed(recipe(folder, corpus.uri)) for _ in range(size.rounds)]
            goal = f"<= {GOAL_S}"
            yield measure(f"status, {title}, local, {how}", taken, "s", goal)
            url, options = throttled(corpus.store.path(""), DELAY_S)
            seconds, rounds = [], []
            for _ in range(size.rounds):
                with counted() as requests:
                    seconds.append(_timed(recipe(folder, url, options)))
                    rounds.append((requests.count(), requests.depth, requests.at_once))
            where = f"status, {title}, 30 ms a request, {how}"
            yield measure(where, seconds, "s")
            for name, values in zip(
                ("requests", "one after the other", "at once"),
                zip(*rounds, strict=True),
                strict=True,
            ):
                yield measure(f"  {name}", values, "")
        shutil.rmtree(corpus.store.path(""))


def _timed(made: Recipe) -> float:
    check._upstream.clear()  # caches of earlier rounds, which a new process would not have
    started = time.perf_counter()
    asked(made)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-status-") as folder:
        publish(list(bench(Path(folder), QUICK if options.quick else Size())), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
