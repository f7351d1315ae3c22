"""How long `nucleus status` takes on very many image shards, and what it asks of the store.

One image shard of five pictures is ingested, measured, compared and selected; all others are copies
of its parts (`nucleus_data.world.many`). Measured is the answer in this process, imports apart: on
a local disk, with the counts that a finished run left and without them; and on a store that answers
each request in 30 ms. Of that store also: how many requests there were, how many of them one after
the other (the most of which no two overlap), and the most that were under way at once.

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
# Fewer groups than the recipe has, so that a corpus is made in seconds: three tables of signals.
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
    """The recipe that the corpora are made with, of pictures that lie in a folder.

    Args:
        folder: Holds the pictures.
        corpus: Path or URL of the corpus.
        options: For fsspec.
        overrides: Further settings.
    """
    given = [f"storage_options.{name}={value}" for name, value in (options or {}).items()]
    source = f"ingest.source={folder / 'pictures'}"
    return load_recipe(RECIPE, [f"corpus={corpus}", source, *given, *SETTINGS, *overrides])


def make_one(folder: Path) -> Corpus:
    """The corpus of one shard that all others are copied from: three pictures, a copy, a broken."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    images = scene_jpegs(3, 64)
    for name, data in enumerate([*images, images[0], b"broken"]):
        (pictures / f"{name}.jpg").write_bytes(data)
    run_line(recipe(folder, str(folder / "one")), STEPS, inline=True, say=lambda _: None)
    return Corpus(str(folder / "one"))


def make_corpus(folder: Path, one: Corpus, shards: int, first: int = 0) -> Corpus:
    """A corpus of so many shards, measured and selected.

    Args:
        folder: Where `make_one` made the corpus that is copied.
        one: That corpus.
        shards: How many shards it gets.
        first: The number of the first one.
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
    # The hashes of corpus-wide tables follow from all parts, so each is known once those before
    # it are there.
    for name, table in (("dedup", "dedup"), ("compare", "compare"), ("select", "selection")):
        stage: Any = stages[name]
        hashed = stage.pin(run)[table]
        (old,) = one.config_hashes(table)
        source = one.store.path(f"tables/{table}/{old}")
        copy_parts(source, corpus, f"tables/{table}/{hashed}", numbers, config_hash=hashed)
        copy_published(source, corpus, f"tables/{table}/{hashed}", shards)
    return corpus


def quiet(made: Recipe, command: str = "look") -> Run:
    """A run that looks and says nothing."""
    return open_run(made, command, dry_run=True, say=lambda _: None)


def finish_a_run(made: Recipe) -> None:
    """Leaves what a run leaves that ends: its counts."""
    run, stages = open_run(made, "select", say=lambda _: None), made.stages()
    select: Any = stages["select"]
    run.pin(select.found(run))
    leave_counts(run, stages["inspect"])


def asked(made: Recipe) -> list[str]:
    """What `nucleus status` prints."""
    return list(status_lines(status(quiet(made), made.stages())))


def bench(folder: Path, size: Size) -> Iterator[Measure]:
    """Measures everything."""
    one = make_one(folder)
    for shards in size.shards:
        corpus = make_corpus(folder, one, shards)
        said = f"{shards:,} shards"
        for left in (False, True):
            how = "counts left by a run" if left else "from footers"
            if left:
                finish_a_run(recipe(folder, corpus.uri))
            taken = [_timed(recipe(folder, corpus.uri)) for _ in range(size.rounds)]
            goal = f"<= {GOAL_S}"
            yield measure(f"status, {said}, local, {how}", taken, "s", goal)
            url, options = throttled(corpus.store.path(""), DELAY_S)
            seconds, rounds = [], []
            for _ in range(size.rounds):
                with counted() as requests:
                    seconds.append(_timed(recipe(folder, url, options)))
                    rounds.append((requests.count(), requests.depth, requests.at_once))
            where = f"status, {said}, 30 ms a request, {how}"
            yield measure(where, seconds, "s")
            for name, values in zip(
                ("requests", "one after the other", "at once"),
                zip(*rounds, strict=True),
                strict=True,
            ):
                yield measure(f"  {name}", values, "")
        shutil.rmtree(corpus.store.path(""))


def _timed(made: Recipe) -> float:
    check._upstream.clear()  # of earlier rounds, which a command has not
    started = time.perf_counter()
    asked(made)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = parser(__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-status-") as folder:
        publish(list(bench(Path(folder), QUICK if options.quick else Size())), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
