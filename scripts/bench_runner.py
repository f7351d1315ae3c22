"""Measures the runner's overhead: per shard, against a plain loop, with two workers, in memory.

    python scripts/bench_runner.py                      # twelve minutes on two idle cores
    python scripts/bench_runner.py --quick --json runner.json

Ray is started, and every stage has processed some shards, before anything is timed. The plain loop
is the obvious code without this package: it decodes, measures and writes Parquet in one process.
Rounds alternate, ratios are computed within a round, and medians are shown. Ray gives its workers a
niceness of 15; here it is 0, like that of the loop. Otherwise, on a busy machine, the figures would
reflect the scheduler only.

If other work uses the cores (last row), wall-clock times tell little about the runner. CPU times
(of driver, Ray and workers) still show its overhead, and the share of the time in which workers
were busy shows how much faster two of them can be than one.
"""

import itertools
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

# Set before numpy is imported, as Ray does in its workers, so that the plain loop is no faster.
os.environ["OMP_NUM_THREADS"] = "1"

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from nucleus_data.corpus import RECORDS_HASH, Corpus
from nucleus_data.corpus.tables import table_schema
from nucleus_data.pixels import open_picture
from nucleus_data.runner.cluster import RaySettings, connected
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import Item, Resources, StageReport
from nucleus_data.signals import load_group
from nucleus_data.stage import Result, Row, RowStage, TableSpec
from nucleus_data.stages.inspect.stage import Inspect, InspectSettings
from nucleus_data.world.corpora import repeated_corpus, scene_jpegs
from scripts.benchmark import Measure, measure, parser, publish

MB = 1 << 20
WORKERS = 2
SIDE = 256


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        shards: Number of shards of the corpus of images.
        images: Images per shard.
        idle_rounds: Rounds of the stage that does nothing.
        real_rounds: Rounds of the real stage.
        tiny: Number of one-row shards, for the driver's memory.
    """

    shards: int = 20
    images: int = 500
    idle_rounds: int = 5
    real_rounds: int = 7
    tiny: int = 20_000


QUICK = Size(shards=4, images=150, idle_rounds=3, real_rounds=2, tiny=400)


class NoSettings(BaseModel):
    """Settings without fields."""


class Idle(RowStage[NoSettings]):
    """A stage that does nothing, and does not read images."""

    name = "idle"
    help = "Do nothing."
    Settings = NoSettings
    reads_images: ClassVar[bool] = False

    def tables(self) -> Sequence[TableSpec]:
        """Returns one table with one column."""
        return [TableSpec(self.name, pa.schema([("nothing", pa.int8())]), version=1)]

    def process(self, rows: Iterator[Row]) -> Iterator[Result]:
        """Yields the same result for every row."""
        for row in rows:
            yield Result(row, {self.name: {"nothing": 0}})


class IdleReader(Idle):
    """A stage that does nothing, for which the runner reads every image and checks its SHA-256."""

    reads_images: ClassVar[bool] = True


class Bench:
    """Runs stages over one corpus; each run writes to new tables.

    Args:
        corpus: The corpus.
        shards: The corpus's number of shards.
    """

    def __init__(self, corpus: Corpus, shards: int) -> None:
        self.corpus = corpus
        self.shards = shards
        self.runs = itertools.count()

    def job(self, stage: RowStage[Any]) -> StageJob:
        """Makes a job with new tables."""
        run = next(self.runs)
        hashes = {spec.name: f"run{run:04d}" for spec in stage.tables()}
        return StageJob(self.corpus.uri, {}, stage, {"records": RECORDS_HASH, **hashes})

    def run(self, stage: RowStage[Any], workers: int | None) -> StageReport:
        """Runs a stage over all shards, and returns the report."""
        from nucleus_data.runner.loop import Loop

        loop = Loop(stage.name, self.job(stage), Resources(workers=workers), progress=False)
        report = loop.run(self.items())
        done, rows = report.summary.done, report.summary.rows
        if report.shards != self.shards or done != rows:
            raise RuntimeError(f"{stage.name}: {done} of {rows} rows, failed: {report.failed[:3]}")
        return report

    def items(self) -> Iterator[Item]:
        """Yields all shards."""
        return (Item(number) for number in range(self.shards))

    def plain(self, settings: InspectSettings, folder: Path) -> None:
        """Does the work of `Inspect` in a plain loop."""
        folder.mkdir()
        groups = [load_group(name) for name in settings.signals]
        for shard in range(self.shards):
            rows: dict[str, list[dict[str, Any]]] = {group.name: [] for group in groups}
            with tarfile.open(self.corpus.store.path(f"images/{shard:06d}.tar")) as tar:
                for number, member in enumerate(tar):
                    file = tar.extractfile(member)
                    picture = open_picture(file.read() if file else b"")
                    picture.luma_full  # noqa: B018 - decodes the whole picture, as Inspect does
                    key = {"shard": shard, "row": number, "id": Path(member.name).stem}
                    for group in groups:
                        rows[group.name].append({**key, **group.measure(picture, member.name)})
            for group in groups:
                part = pa.Table.from_pylist(rows[group.name], table_schema(group.schema))
                pq.write_table(part, folder / f"{group.name}-{shard}.parquet", compression="zstd")


class TinyBench(Bench):
    """Records the driver's memory, in MB, after each tenth of the shards and at the end."""

    def __init__(self, corpus: Corpus, shards: int) -> None:
        super().__init__(corpus, shards)
        self.memory: list[float] = []

    def items(self) -> Iterator[Item]:
        """Yields all shards, and records the memory in between."""
        for item in super().items():
            if item.number and item.number % (self.shards // 10) == 0:
                self.note()
            yield item

    def note(self) -> None:
        """Records the current memory of this process."""
        self.memory.append(psutil.Process().memory_info().rss / MB)


def bench_idle(bench: Bench, size: Size) -> list[Measure]:
    """Measures milliseconds per shard of stages that do nothing, with one worker."""
    stages = {"does nothing": Idle(NoSettings()), "reads images": IdleReader(NoSettings())}
    taken: dict[str, list[float]] = {name: [] for name in stages}
    for stage in stages.values():
        bench.run(stage, WORKERS)  # starts the workers, with their imports
    for _ in range(size.idle_rounds):
        for name, stage in stages.items():
            taken[name].append(1000 * bench.run(stage, 1).seconds / size.shards)
    what = f"a shard of {size.images} images"
    return [measure(f"{name}: {what}", taken[name], "ms", "<= 100") for name in stages]


def bench_real(bench: Bench, size: Size, folder: Path) -> list[Measure]:
    """Compares `inspect` with one and with two workers, and a plain loop."""
    settings = InspectSettings()
    stage = Inspect(settings)
    bench.run(stage, WORKERS)
    meter = CpuMeter()
    names = ["plain loop", "one worker", "two workers"]
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    occupied = []
    for turn in range(size.real_rounds):
        for name in names[:: -1 if turn % 2 else 1]:
            started, used = time.perf_counter(), meter.seconds()
            if name == "plain loop":
                bench.plain(settings, folder / f"plain{turn}")
            else:
                report = bench.run(stage, names.index(name))
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(meter.seconds() - used)
            if name == "two workers":
                occupied.append(sum(report.summary.seconds.values()) / 2 / wall[name][-1])
            say(f"inspect, round {turn + 1} of {size.real_rounds}: {name} {wall[name][-1]:.1f} s")

    def ratios(of: dict[str, list[float]], over: str, under: str) -> list[float]:
        return [a / b for a, b in zip(of[over], of[under], strict=True)]

    plain, one_worker, two_workers = names
    images = size.shards * size.images
    return [
        *(measure(f"inspect, {n}", [images / s for s in wall[n]], "images/s") for n in names),
        measure(
            "inspect, one worker: time", ratios(wall, one_worker, plain), "times", "<= 1.10", plain
        ),
        measure(
            "inspect, one worker: CPU time", ratios(cpu, one_worker, plain), "times", None, plain
        ),
        measure(
            "inspect, two workers: speed",
            ratios(wall, one_worker, two_workers),
            "times",
            ">= 1.7",
            one_worker,
        ),
        measure(
            "inspect, two workers: CPU time",
            ratios(cpu, two_workers, one_worker),
            "times",
            None,
            one_worker,
        ),
        measure("inspect, two workers: at work", occupied, "of the time"),
    ]


def bench_memory(bench: TinyBench) -> list[Measure]:
    """Measures the driver's memory over many one-row shards, from a tenth of them on."""
    name = f"{bench.shards:,} one-row shards"
    say(name)
    seconds = bench.run(Idle(NoSettings()), None).seconds
    bench.note()
    growth = bench.memory[-1] - bench.memory[0]
    return [
        measure(f"{name}: a shard", [1000 * seconds / bench.shards], "ms"),
        measure(f"{name}: driver's memory", [bench.memory[-1]], "MB"),
        measure(f"{name}: driver's growth", [growth], "MB", "<= 20", "after a tenth of them"),
    ]


class CpuMeter:
    """Measures CPU seconds of this process and its descendants, such as Ray's, even ended ones."""

    def __init__(self) -> None:
        self.seen: dict[psutil.Process, float] = {}

    def seconds(self) -> float:
        """Returns the CPU seconds used so far."""
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            self.seen[process] = times.user + times.system
        return sum(self.seen.values())


def machine_seconds() -> float:
    """Returns the CPU seconds of the whole machine so far."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def say(line: str) -> None:
    """Prints a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def run(size: Size, folder: Path) -> list[Measure]:
    """Measures everything, and returns the rows. Starts Ray if it is not running.

    Args:
        size: How much to measure.
        folder: Folder for the corpora; the caller removes it.
    """
    say(f"making {size.shards} shards of {size.images} images, and {size.tiny:,} of one row")
    images = repeated_corpus(folder / "images", size.shards, scene_jpegs(size.images, SIDE))
    tiny = repeated_corpus(folder / "tiny", size.tiny, [b"x"])
    bench = Bench(images, size.shards)
    with connected(RaySettings(num_cpus=WORKERS)):
        meter = CpuMeter()
        start, own, everyone = time.perf_counter(), meter.seconds(), machine_seconds()
        measures = [
            *bench_idle(bench, size),
            *bench_real(bench, size, folder),
            *bench_memory(TinyBench(tiny, size.tiny)),
        ]
        others = machine_seconds() - everyone - (meter.seconds() - own)
        load = max(others, 0.0) / (time.perf_counter() - start)
    return [*measures, measure("other work meanwhile", [load], f"cores of {psutil.cpu_count()}")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__).parse_args(arguments)
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray spells it
    with tempfile.TemporaryDirectory(prefix="bench-runner-") as folder:
        measures = run(QUICK if options.quick else Size(), Path(folder))
    publish(measures, options.json)
    return 0


if __name__ == "__main__":
    # Workers import the stages by this module's name, so it must not be `__main__`.
    from scripts.bench_runner import main as imported_main

    sys.exit(imported_main())
