"""Measures the speed of `select`, and of a what-if, over all records with changed rules.

    python scripts/bench_select.py                          # 10 million rows; some 5 GB of disk
    python scripts/bench_select.py --quick --json select.json

The corpus consists of tables only, without tars: `records` with a caption and a URL, the nine
groups of `inspect`, and pairs (2 % of the records are copies). Every round changes a threshold. The
rules and the order of preference are those of configs/full/recipe.yaml. Ray is started before
anything is timed.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import psutil
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.published import publish as publish_table
from nucleus_data.corpus.tables import Table
from nucleus_data.line.recipe import Recipe, load_recipe
from nucleus_data.line.steps import open_run, step
from nucleus_data.runner.cluster import RaySettings, connected
from nucleus_data.runner.run import Run
from nucleus_data.stages.dedup.rows import PAIRS
from nucleus_data.stages.select.ledger import LedgerTask
from nucleus_data.stages.select.plan import SelectionPlan
from nucleus_data.stages.select.stage import Select, published_selection
from nucleus_data.views.compare import what_if
from nucleus_data.world.corpora import hex_texts, write_part
from scripts.benchmark import Measure, measure, parser, publish

RECIPE = Path(__file__).resolve().parents[1] / "configs/full/recipe.yaml"
ROWS_A_SHARD = 10_000
COPIES = 0.02
WORKERS = 2
GOAL_ROWS, GOAL_S = 10_000_000, 20
ALONE_GROUPS = 3
FORMATS = np.array(["jpeg", "png", "webp", "gif"])
MODES = np.array(["RGB", "L", "RGBA"])
WORDS = np.array(["a", "red", "small", "old", "cat", "tree", "house", "street", "water", "under"])


@dataclass(frozen=True)
class Size:
    """How much is measured: numbers of records and of rounds."""

    rows: int = GOAL_ROWS
    rounds: int = 3


QUICK = Size(rows=300_000, rounds=2)


def records(rng: np.random.Generator, keys: dict[str, pa.Array]) -> pa.Table:
    """Makes a shard's records; one in 200 was not downloaded."""
    ids, count = keys["id"], len(keys["id"])
    lost = rng.random(count) < 0.005
    captions = WORDS[rng.integers(0, len(WORDS), (count, 9))]
    size = rng.integers(20_000, 400_000, count)
    text = ids.to_pylist()
    return pa.table(
        {
            **keys,
            "source": pa.array(np.where(rng.random(count) < 0.4, "laion", "web")),
            "key": [f"https://example.org/{name[:20]}.jpg" for name in text],
            "file": pa.array([f"{name}.jpg" for name in text], mask=lost),
            "offset": pa.array(np.cumsum(size), mask=lost),
            "size": pa.array(size, mask=lost),
            "sha256": hex_texts(rng, count, 64),
            "error": pa.array(np.full(count, "http_404"), mask=~lost),
            "detail": pa.nulls(count, pa.string()),
            "retryable": pa.array(np.zeros(count, bool)),
            "source.caption": [" ".join(words) for words in captions.tolist()],
            "source.url": [f"https://example.org/{name[:20]}.jpg" for name in text],
        }
    )


def signals(rng: np.random.Generator, keys: dict[str, pa.Array]) -> dict[str, pa.Table]:
    """Makes the groups of `inspect`, with values distributed like those of web pictures."""
    count = len(keys["id"])

    def single(values: np.ndarray) -> pa.Array:
        return pa.array(values.astype(np.float32))

    def shares(a: float, b: float) -> pa.Array:
        return single(rng.beta(a, b, count))

    width, height = (np.exp(rng.normal(6.6, 0.6, count)).astype(np.int32) + 1 for _ in range(2))
    size = (width.astype(np.int64) * height * np.exp(rng.normal(-2, 0.7, count))).astype(np.int64)
    formats = FORMATS[rng.choice(4, count, p=[0.85, 0.1, 0.04, 0.01])]
    broken = pa.array(np.full(count, "truncated"), mask=rng.random(count) >= 0.003)
    values = {
        "file": {
            "format": formats,
            "declared": formats,
            "mislabelled": rng.random(count) < 0.01,
            "width": width,
            "height": height,
            "mode": MODES[rng.choice(3, count, p=[0.9, 0.05, 0.05])],
            "frames": np.where(rng.random(count) < 0.01, 5, 1).astype(np.int32),
            "orientation": np.ones(count, np.int8),
            "has_icc": rng.random(count) < 0.3,
            "has_alpha": rng.random(count) < 0.05,
            "truncated": rng.random(count) < 0.002,
            "bytes": size,
            "bytes_per_pixel": single(size / (width * height)),
            "aspect": single(np.maximum(width / height, height / width)),
        },
        "tone": {
            "luma_mean": single(rng.normal(120, 40, count)),
            "luma_std": single(rng.gamma(6, 10, count)),
            "dark_share": shares(0.6, 4),
            "bright_share": shares(0.6, 4),
            "clipped_share": shares(0.6, 4),
            "entropy": single(rng.normal(7, 0.5, count)),
            "saturation": shares(2, 4),
        },
        "detail": {
            "laplacian_variance": single(np.exp(rng.normal(5, 1.6, count))),
            "high_frequency_share": shares(2, 8),
        },
        "hash": {
            "phash": rng.integers(0, 2**64, count, dtype=np.uint64),
            "hash256": pa.array([rng.bytes(32) for _ in range(count)], pa.binary(32)),
        },
        "colour": {
            "luma_p1": rng.gamma(1.5, 10, count).clip(0, 255).astype(np.uint8),
            "luma_p99": (255 - rng.gamma(1.5, 15, count)).clip(0, 255).astype(np.uint8),
            "cast": single(rng.gamma(2, 4, count)),
            "cast_factor": single(rng.gamma(2, 0.3, count)),
            "colourfulness": single(rng.gamma(3, 12, count)),
            "grey_share": shares(0.5, 3),
            "dominant_share": shares(2, 5),
        },
        "sharpness": {
            "edge_width": single(rng.gamma(3, 0.9, count)),
            "upscaling": single(1 + rng.gamma(0.5, 0.5, count)),
        },
        "compression": {
            "jpeg_quality": pa.array(
                rng.integers(40, 100, count).astype(np.int8), mask=formats != "jpeg"
            ),
            "blockiness": single(rng.gamma(1, 0.1, count)),
            "bytes_over_expected": single(np.exp(rng.normal(0, 0.3, count))),
        },
        "layout": {
            **{
                f"border_{side}": single(np.where(rng.random(count) < 0.03, rng.random(count), 0))
                for side in ("left", "top", "right", "bottom")
            },
            "seam_vertical": shares(1, 9),
            "seam_horizontal": shares(1, 9),
            "repetition": shares(1, 12),
        },
        "resampling": {"resampling": single(rng.gamma(12, 0.35, count))},
    }
    return {
        f"inspect.{group}": pa.table({**keys, **columns, "error": broken})
        for group, columns in values.items()
    }


def make_corpus(folder: Path, rows: int) -> Corpus:
    """Makes a corpus of tables only, measured and compared, but not selected."""
    corpus = Corpus(str(folder), create=True)
    made = recipe(corpus)
    hashes = made.pins().tables
    rng = np.random.default_rng(rows)
    copies: list[tuple[int, int, str]] = []
    for shard in range(rows // ROWS_A_SHARD):  # whole shards only; a remainder is dropped
        row = np.arange(ROWS_A_SHARD, dtype=np.int32)
        places = pa.array(np.full(ROWS_A_SHARD, shard, np.int32))
        keys = {"shard": places, "row": pa.array(row), "id": hex_texts(rng, ROWS_A_SHARD, 32)}
        write_part(corpus.records, shard, records(rng, keys))
        for name, table in signals(rng, keys).items():
            write_part(Table(corpus.store, name, hashes[name]), shard, table)
        chosen = np.sort(rng.choice(ROWS_A_SHARD, int(2 * COPIES * ROWS_A_SHARD), replace=False))
        copies += [(shard, int(r), keys["id"][r].as_py()) for r in chosen]
        if shard % 100 == 99:
            print(f"{shard + 1} shards made", file=sys.stderr, flush=True)
    pins = made.stages()["dedup"].pin(quiet_run(made, "bench"))
    write_pairs(Table(corpus.store, "dedup", pins["dedup"]), copies, rng)
    return corpus


def write_pairs(
    table: Table, copies: Sequence[tuple[int, int, str]], rng: np.random.Generator
) -> None:
    """Writes pairs of random records, each in one pair, in the format of `dedup`."""
    order = rng.permutation(len(copies))
    half = len(order) // 2
    by_shard: dict[int, list[tuple[object, ...]]] = {}
    for a, b in zip(order[:half], order[half : 2 * half], strict=True):
        first, second = sorted((copies[a], copies[b]))
        exact = bool(a % 2)
        near = (0, 0, 0.0) if exact else (3, 21, 0.01)
        by_shard.setdefault(first[0], []).append((*first, *second, *near, exact))
    for shard, lines in by_shard.items():
        columns = zip(*sorted(lines), strict=True)
        content = [pa.array(c, f.type) for c, f in zip(columns, PAIRS, strict=True)]
        write_part(table, shard, pa.table(content, schema=PAIRS))
    counts = {"records": len(copies), "pairs": half, "exact": half // 2}
    publish_table(table.store, table.folder, counts)


def recipe(corpus: Corpus, *overrides: str) -> Recipe:
    """Returns the full recipe for a corpus, with Ray for all work, however small."""
    return load_recipe(RECIPE, [f"corpus={corpus.uri}", "ray.local.items=0", *overrides])


def quiet_run(made: Recipe, command: str) -> Run:
    """Makes a run of a recipe that prints nothing."""
    return open_run(made, command, say=lambda _: None)


def select(made: Recipe) -> dict[str, int]:
    """Decides about all records like `nucleus select`; returns the number in each state."""
    run = quiet_run(made, "select")
    step(run, made.stages(), "select")
    published = published_selection(run.corpus.store, run.tables["selection"])
    if published is None:
        raise AssertionError("the selection was not published: shards failed")
    return dict(published["states"])


def worker_seconds() -> float:
    """Returns the CPU seconds of Ray's workers on this machine so far."""
    taken = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith("ray::"):
                times = process.cpu_times()
                taken += times.user + times.system
    return taken


def bench(corpus: Corpus, size: Size) -> list[Measure]:
    """Measures everything, and returns the rows of the table."""
    now = recipe(corpus)
    select(now)  # starts the workers, and is the selection that the what-ifs are compared with
    wall: dict[str, list[float]] = {"what-if": [], "select": []}
    busy: dict[str, list[float]] = {"what-if": [], "select": []}

    def timed(name: str, work: Callable[[], object]) -> None:
        before, cpu = time.perf_counter(), worker_seconds() + time.process_time()
        work()
        busy[name].append(worker_seconds() + time.process_time() - cpu)
        wall[name].append(time.perf_counter() - before)

    def select_and_check(changed: Recipe) -> None:
        states = select(changed)
        if sum(states.values()) != size.rows // ROWS_A_SHARD * ROWS_A_SHARD:
            raise AssertionError(f"not every record is decided about: {states}")
        if not states["kept"] or not states["duplicate"] or states["pending"]:
            raise AssertionError(f"the records are no case of what is measured: {states}")

    for turn in range(size.rounds):
        # Another threshold each time, as the selection of a previous one would be reused.
        changed = recipe(corpus, f"select.rules.too_small=least(width, height) < {300 + turn}")
        timed("what-if", partial(what_if, quiet_run(now, "what-if"), now, changed))
        timed("select", partial(select_and_check, changed))
        line = ", ".join(f"{name} {wall[name][-1]:.2f} s ({busy[name][-1]:.2f})" for name in wall)
        print(f"round {turn + 1} of {size.rounds}: {line}", file=sys.stderr, flush=True)
    scale = GOAL_ROWS / size.rows
    return [
        *(
            measure(
                f"{name}: {size.rows:,} rows, {WORKERS} workers" + line,
                [seconds * scale for seconds in taken[name]],
                "s a 10 million",
                goal,
            )
            for name in wall
            for taken, line, goal in (
                (wall, "", f"<= {GOAL_S}"),
                (busy, ", CPU of all processes", None),
            )
        ),
        measure("decided and written in this process: a shard", alone(corpus), "ms"),
    ]


def alone(corpus: Corpus) -> list[float]:
    """Returns CPU milliseconds per shard of the last pass, by group of shards, without Ray."""
    made = recipe(corpus, f"select.rules.too_small=width < {ROWS_A_SHARD}")
    planned, stage = quiet_run(made, "select"), made.stages()["select"]
    assert isinstance(stage, Select)
    planned.pin(stage.pin(planned))
    decisions = stage.decisions(planned)
    plan = SelectionPlan(corpus.uri, {}, decisions, planned.tables, corpus.shards())
    taken = []
    for group in plan.groups()[:ALONE_GROUPS]:
        started = time.process_time()
        LedgerTask(plan).run(plan.group(group)[0])
        taken.append(1000 * (time.process_time() - started) / len(plan.group(group)))
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__).parse_args(arguments)
    size = QUICK if options.quick else Size()
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray spells it
    with tempfile.TemporaryDirectory(prefix="bench-select-") as folder:
        corpus = make_corpus(Path(folder, "corpus"), size.rows)
        os.sync()  # otherwise the disk would still be writing the corpus during measurements
        with connected(RaySettings(num_cpus=WORKERS)):
            measures = bench(corpus, size)
    publish(measures, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
