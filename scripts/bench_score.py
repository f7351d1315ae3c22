"""Measures how fast `score` scores stored vectors again with other heads.

    python scripts/bench_score.py                           # a million vectors; some 1 GB of disk
    python scripts/bench_score.py --quick --json score.json

The corpus consists of tables only. The vectors are random, with the nano model's width. The heads
are the three of the package, with other weights in each round, so that each round scores all
vectors. Reading the tables and writing the scores is included; Ray is started before anything is
timed. For comparison, the cost of a published head (LAION's improved predictor: 768, 1024, 128, 64,
16, 1) is measured in this process.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.states import KEPT
from nucleus_data.corpus.tables import Table
from nucleus_data.engines.heads import Head, Heads, Layer, load_heads, save_heads
from nucleus_data.line.recipe import Recipe, load_recipe
from nucleus_data.line.steps import open_run
from nucleus_data.runner.cluster import RaySettings, connected
from nucleus_data.runner.row_stage import do_rows
from nucleus_data.world.corpora import hex_texts, write_part
from scripts.bench_select import worker_seconds
from scripts.benchmark import Measure, measure, parser, publish

RECIPE = Path(__file__).resolve().parents[1] / "configs/nano/recipe.yaml"
ROWS_A_SHARD = 10_000
WORKERS = 2
GOAL_ROWS, GOAL_S = 1_000_000, 20
SELECTION = "0" * 16
PUBLISHED = ((1024, 768), (128, 1024), (64, 128), (16, 64), (1, 16))


@dataclass(frozen=True)
class Size:
    """How much is measured: numbers of records and of rounds."""

    rows: int = GOAL_ROWS
    rounds: int = 5


QUICK = Size(rows=100_000, rounds=2)


def make_corpus(folder: Path, rows: int) -> Corpus:
    """Makes a corpus of records, which are all kept, with their vectors, but without scores."""
    corpus = Corpus(str(folder), create=True)
    hashes = recipe(corpus).pins().tables
    width = next(iter(load_heads().heads.values())).width
    rng = np.random.default_rng(rows)
    for shard in range(rows // ROWS_A_SHARD):  # whole shards only; a remainder is dropped
        count = ROWS_A_SHARD
        ids = hex_texts(rng, count, 32)
        row = pa.array(np.arange(count, dtype=np.int32))
        keys = {"shard": pa.array(np.full(count, shard, np.int32)), "row": row, "id": ids}
        none = pa.nulls(count, pa.string())
        size = pa.array(np.full(count, 1000, np.int64))
        about = {"file": ids, "offset": size, "size": size, "sha256": ids, "error": none}
        write_part(corpus.records, shard, pa.table({**keys, **about}))
        states = pa.table({**keys, "state": pa.array([KEPT] * count)})
        write_part(Table(corpus.store, "selection", SELECTION), shard, states)
        for kind in ("image", "text"):
            numbers = rng.standard_normal(count * width, np.float32).astype(np.float16)
            offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
            vectors = pa.ListArray.from_arrays(offsets, pa.array(numbers))
            table = pa.table({**keys, f"{kind}_embedding": vectors, "error": none})
            write_part(Table(corpus.store, f"embed.{kind}", hashes[f"embed.{kind}"]), shard, table)
    return corpus


def recipe(corpus: Corpus, *overrides: str) -> Recipe:
    """Returns the laptop's recipe for a corpus, with Ray for all work, however small."""
    return load_recipe(RECIPE, [f"corpus={corpus.uri}", "ray.local.items=0", *overrides])


def score(corpus: Corpus, *overrides: str) -> int:
    """Scores all rows without a score, and returns their number."""
    made = recipe(corpus, *overrides)
    run = open_run(made, "score", say=lambda _: None)
    run.pin({"selection": SELECTION})
    do_rows(run, made.stages()["score"])  # type: ignore[arg-type]
    line = run.folder.stages[-1]
    if line["failed_shards"] or line["failed"]:
        raise AssertionError(f"not every vector is scored: {line}")
    return int(line["done"])


def other_heads(folder: Path, seed: int) -> str:
    """Writes the package's heads with slightly different weights to a new folder."""
    rng = np.random.default_rng(seed)
    heads = load_heads()

    def other(head: Head) -> Head:
        noise = np.float32(1 + 0.01 * rng.standard_normal())
        return replace(head, layers=tuple(replace(x, weight=x.weight * noise) for x in head.layers))

    changed = {name: other(head) for name, head in heads.heads.items()}
    save_heads(Heads(heads.model, heads.revision, changed), folder)
    return str(folder)


def bench(corpus: Corpus, size: Size) -> list[Measure]:
    """Measures everything, and returns the rows of the table."""
    first = score(corpus)  # starts the workers
    if first != size.rows // ROWS_A_SHARD * ROWS_A_SHARD:
        raise AssertionError(f"{first:,} rows were scored at first")
    wall, busy = [], []
    with tempfile.TemporaryDirectory(prefix="bench-heads-") as folder:
        for turn in range(size.rounds):
            heads = other_heads(Path(folder, str(turn)), turn)
            started, cpu = time.perf_counter(), worker_seconds() + time.process_time()
            done = score(corpus, f"score.heads={heads}")
            wall.append(time.perf_counter() - started)
            busy.append(worker_seconds() + time.process_time() - cpu)
            if done != first:
                raise AssertionError(f"{done:,} rows were scored again")
            said = f"round {turn + 1} of {size.rounds}: {wall[-1]:.2f} s ({busy[-1]:.2f})"
            print(said, file=sys.stderr, flush=True)
    scale = GOAL_ROWS / first
    name = f"other heads: {first:,} vectors, {WORKERS} workers"
    return [
        measure(name, [s * scale for s in wall], "s a million", f"<= {GOAL_S}"),
        measure(f"{name}, CPU of all processes", [s * scale for s in busy], "s a million"),
        measure("a published head's sizes, one process", published(size.rounds), "s a million"),
    ]


def published(rounds: int, rows: int = 5_000) -> list[float]:
    """Returns CPU seconds per million vectors, for a head of LAION's sizes."""
    rng = np.random.default_rng(0)
    layers = [
        Layer(rng.standard_normal(shape, np.float32), np.zeros(shape[0], np.float32))
        for shape in PUBLISHED
    ]
    head = Head("value", tuple(layers))
    vectors = rng.standard_normal((rows, head.width), np.float32)
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        head.score(vectors)
        taken.append((time.process_time() - started) * GOAL_ROWS / rows)
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__).parse_args(arguments)
    size = QUICK if options.quick else Size()
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray spells it
    with tempfile.TemporaryDirectory(prefix="bench-score-") as folder:
        corpus = make_corpus(Path(folder, "corpus"), size.rows)
        os.sync()  # otherwise the disk would still be writing the corpus during measurements
        with connected(RaySettings(num_cpus=WORKERS)):
            measures = bench(corpus, size)
    publish(measures, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
