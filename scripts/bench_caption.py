"""Compares `caption` with its bounds: bare vLLM, the engine's own pace, a bare preparing pool.

    python scripts/bench_caption.py                            # a quarter of an hour
    python scripts/bench_caption.py --quick --json caption.json
    python scripts/bench_caption.py --part pace --threads 8    # one of bare, pace, memory
    python scripts/bench_caption.py --part pace --photos FOLDER

Rounds alternate, so that other work on the machine affects all sides; each row is the median of the
ratios of the rounds. The exit code is 1 if a goal is missed (except with --quick, whose sizes are
too small for the goals).

- *Bare* (`scripts/captions/over_vllm.py`, with the nano model in the real vLLM): processor time of
  the stage relative to `LLM.generate` with the same requests, for a run, and per additional caption
  of a longer one; the cost of the truth tests per run; and three variants that share a picture
  relative to three that do not, beside the ratio expected from the vision model's share. All on one
  core unless `--all-cores` is given: the same work takes more processor time where threads of both
  cores compete, which says nothing about the stage.
- *Pace*: an engine that finishes a caption every 18 ms while it has 64 requests, like a large model
  on a GPU; and JPEGs of 2 megapixels, which are decoded, scaled, and converted to patches by a real
  image processor. They are cut from the middle of the photographs in --photos (such as those of
  Debian's mate-backgrounds), or are scenes with fine noise. The row shows the stage, in the
  product's actor, relative to the slower of the engine alone and the same number of threads that
  only prepare pictures; with 600 and with 2 rows per shard. Both ends of a run, where the engine
  fills and drains, are left out.
- *Memory*: memory of this process over 20,000 distinct pictures, relative to that after 4,000.
"""

import functools
import io
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# As in a worker with one CPU; must be set before numpy and torch are imported.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import psutil
from PIL import Image

from nucleus_data.engines.find import resolve_model
from nucleus_data.pixels import open_picture
from nucleus_data.runner.actor import StageActor
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stage import Row
from nucleus_data.stages.caption import stage as caption
from nucleus_data.stages.caption.rounds import fitting
from nucleus_data.stages.caption.settings import CaptionSettings
from scripts.bench_embed import MEGAPIXELS, photographs
from scripts.benchmark import Measure, measure, parser, publish
from tests.support.captions.standin import StandIn
from tests.support.captions.unchecked import OFF

PARTS = ("bare", "pace", "memory")
GOAL_PACE, GOAL_MEMORY = ">= 0.95", "<= 100"
PACE_S, IN_FLIGHT = 0.018, 64
ENDS = 0.15  # share of a run's captions at each end that is not timed
now = time.perf_counter


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: Number of rounds of each row.
        pictures: World pictures per round, for the real engine; twice as many beside the bare one.
        shards: Rows per shard, for the pace.
        rows: Rows per round, for the pace.
        size: Width and height of the photographs.
        distinct: Number of pictures, for the memory.
        settled: Number of pictures after which memory is measured first.
        threads: Number of threads of the pool.
        photos: Folder of photographs; None for synthetic ones.
    """

    rounds: int = 5
    pictures: int = 96
    shards: tuple[int, ...] = (600, 2)
    rows: int = 600
    size: tuple[int, int] = MEGAPIXELS
    distinct: int = 20_000
    settled: int = 4_000
    threads: int = 2
    photos: Path | None = None


QUICK = Size(rounds=1, pictures=8, shards=(60, 2), rows=120, size=(480, 320))
QUICK_MEMORY = 600


@dataclass
class Shard:
    """A stand-in for a shard's rows, as an actor uses them, with pictures from a few files."""

    number: int
    count: int
    picture: Callable[[int], bytes]
    ended: list[float] = field(default_factory=list)
    summary: Summary = field(default_factory=Summary)

    @property
    def todo(self) -> Any:
        """An object with the number of rows."""
        return type("Todo", (), {"num_rows": self.count})

    @property
    def complete(self) -> bool:
        """Whether every row has its outcome."""
        return len(self.ended) == self.count

    def rows(self) -> Iterator[Row]:
        """Yields the rows, each of which lacks one caption."""
        for row in range(self.count):
            number = self.number * self.count + row
            wanted = frozenset({"caption.a"})
            yield Row(self.number, row, f"{number:032x}", "f.jpg", self.picture(number), {}, wanted)

    def accept(self, outcome: Any) -> None:
        """Records when a row got its caption. Raises RuntimeError if it has none."""
        if "caption" not in outcome.values["caption.a"]:
            raise RuntimeError(str(outcome.values))
        outcome.row.image = None
        self.ended.append(now())

    def took(self, stage: Any) -> None:
        """Discards the stage's counts."""
        stage.spent()
        stage.counted()

    def commit(self) -> Summary:
        """Returns the summary, without writing anything."""
        return self.summary


def captioned(
    engine: StandIn, count: int, rows: int, picture: Callable[[int], bytes], threads: int
) -> list[float]:
    """Captions rows in the product's actor, and returns when each caption was made, sorted.

    Args:
        engine: The engine.
        count: Number of rows.
        rows: Rows per shard.
        picture: Returns a row's image file, by its number.
        threads: CPUs of the actor.
    """
    settings = settings_of()
    caption.load_engine = lambda _: engine  # type: ignore[assignment, attr-defined]
    shards: dict[int, Shard] = {}

    class Job:
        """A job of the stage."""

        stage = caption.Caption(settings)
        row_timeout_s, cpus = 600.0, threads

        def open(self, shard: int, limit: int | None) -> Shard:
            """Opens a shard."""
            shards[shard] = Shard(shard, rows, picture)
            return shards[shard]

    actor = StageActor(Job())  # type: ignore[arg-type]
    actor.ready()
    waiting = deque(Item(number, rows=rows) for number in range(count // rows))
    from nucleus_data.runner.pool import Load  # it imports Ray

    load = Load(Job.stage.rows_at_once())
    ended: queue.SimpleQueue[tuple[Item, Exception | None]] = queue.SimpleQueue()

    def run(item: Item) -> None:
        try:
            actor.run_shard(item.number, None)
        except Exception as error:
            ended.put((item, error))
        else:
            ended.put((item, None))

    while waiting or load.items:
        while waiting and load.has_room(waiting[0]):
            load.items.append(waiting.popleft())
            threading.Thread(target=run, args=(load.items[-1],)).start()
        item, error = ended.get()
        if error is not None:
            raise error
        load.items.remove(item)
    return sorted(moment for shard in shards.values() for moment in shard.ended)


def settings_of() -> CaptionSettings:
    """Returns settings with one greedy variant, without checks, as all answers are the same."""
    return CaptionSettings(
        variants={"a": {"prompt": "short"}},  # type: ignore[dict-item]
        max_in_flight=IN_FLIGHT,
        checks=OFF,  # type: ignore[arg-type]
        probes=0,
    )


def pace(moments: Sequence[float]) -> float:
    """Returns captions per second, without both ends of the run."""
    skip = int(len(moments) * ENDS)
    inner = moments[skip : len(moments) - skip]
    return (len(inner) - 1) / (inner[-1] - inner[0])


def patches() -> Callable[[Any], Any]:
    """Returns the packaged captioner's image processor, with an instance per thread."""
    import torch
    from transformers import AutoImageProcessor

    place, own = resolve_model("nano", None).location, threading.local()

    def make(picture: Any) -> Any:
        if not hasattr(own, "made"):
            torch.set_num_threads(1)
            own.made = AutoImageProcessor.from_pretrained(place, local_files_only=True)
        return own.made(images=[Image.fromarray(picture)], return_tensors="pt")

    return make


def cut_out(folder: Path, size: tuple[int, int]) -> list[bytes]:
    """Cuts a JPEG of a size from the middle of each of a folder's photographs that are as large."""
    files = []
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as photo:
            left, top = ((a - b) // 2 for a, b in zip(photo.size, size, strict=True))
            if left < 0 or top < 0:
                continue
            stream = io.BytesIO()
            box = (left, top, left + size[0], top + size[1])
            photo.convert("RGB").crop(box).save(stream, "JPEG", quality=90)
            files.append(stream.getvalue())
    if not files:
        sys.exit(f"{folder}: no JPEG of at least {size[0]}x{size[1]} pixels")
    print(f"{len(files)} photographs, {sum(map(len, files)) / len(files) / 1e6:.2f} MB each")
    return files


def pace_rows(size: Size) -> Iterator[Measure]:
    """Measures captions per second, relative to the slower of the engine and the pool."""
    files = cut_out(size.photos, size.size) if size.photos else photographs(12, size.size)
    make, fitted, settings = patches(), fitting(settings_of()), settings_of()
    small = io.BytesIO()
    Image.new("RGB", (32, 32)).save(small, "PNG")

    def file(number: int) -> bytes:
        return files[number % len(files)]

    def prepared(number: int) -> float:
        make(fitted(open_picture(file(number))))
        return now()

    def pool() -> float:
        with ThreadPoolExecutor(size.threads) as threads:
            return pace(sorted(threads.map(prepared, range(size.rows // 2))))

    def engine() -> float:
        standing = StandIn(settings, pace_s=PACE_S, records=False)
        return pace(captioned(standing, size.rows, size.rows, lambda _: small.getvalue(), 1))

    def stage(rows: int) -> float:
        standing = StandIn(settings, pace_s=PACE_S, records=False, prepare=make)
        return pace(captioned(standing, size.rows, rows, file, size.threads))

    works: dict[str, Callable[[], float]] = {"the bare pool": pool, "the engine": engine}
    works |= {
        f"the stage, {rows} rows a shard": functools.partial(stage, rows) for rows in size.shards
    }
    rates: dict[str, list[float]] = {name: [] for name in works}
    pool()
    for number in range(size.rounds):
        for name in list(works)[:: 1 if number % 2 else -1]:
            rates[name].append(works[name]())
    floors = [min(pair) for pair in zip(rates["the bare pool"], rates["the engine"], strict=True)]
    for rows in size.shards:
        name = f"the stage, {rows} rows a shard"
        shares = [rate / floor for rate, floor in zip(rates[name], floors, strict=True)]
        against = "the lesser of pool and engine"
        yield measure(f"18 ms a caption, {rows} rows a shard", shares, "times", GOAL_PACE, against)
    for name, paces in rates.items():
        yield measure(f"18 ms a caption, {name}", paces, "captions/s")


def memory_rows(size: Size) -> Iterator[Measure]:
    """Measures how much the memory grows over many distinct pictures."""
    process, taken = psutil.Process(), []
    base = np.random.default_rng(0).integers(0, 256, (72, 96, 3), np.uint8)

    def file(number: int) -> bytes:
        if number % 500 == 0:
            taken.append((number, process.memory_info().rss))
        pixels = base.copy()
        pixels[0, :4, 0] = np.frombuffer(np.uint32(number).tobytes(), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
        return stream.getvalue()

    engine = StandIn(settings_of(), per_step=8, records=False)
    moments = captioned(engine, size.distinct, min(500, size.distinct), file, size.threads)
    settled = max(rss for number, rss in taken if number <= size.settled)
    most = max(rss for _, rss in taken)
    name = f"memory over {size.distinct} pictures, above that after {size.settled}"
    yield measure(name, [(most - settled) / 1e6], "MB", GOAL_MEMORY)
    yield measure("memory, the most", [most / 1e6], "MB")
    yield measure("small pictures, an engine without a model", [pace(moments)], "captions/s")


def bench(size: Size, parts: Sequence[str], *, all_cores: bool = False) -> list[Measure]:
    """Returns the rows of some parts; `all_cores` is for the bare part."""
    rows: list[Measure] = []
    if "memory" in parts:
        rows += memory_rows(size)
    if "pace" in parts:
        rows += pace_rows(size)
    if "bare" in parts:  # last, as this process is changed: by vLLM, and to one core
        from scripts.captions.over_vllm import bench as over_vllm

        rows += over_vllm(size.pictures, size.rounds, all_cores=all_cores)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    command = parser(__doc__)
    command.add_argument("--threads", type=int, default=2, help="CPUs of the actor; default 2")
    command.add_argument("--part", choices=PARTS, help="this part alone")
    command.add_argument("--photos", type=Path, metavar="FOLDER", help="JPEGs for the pace")
    command.add_argument("--all-cores", action="store_true", help="don't pin the bare part")
    options = command.parse_args(arguments)
    size = QUICK if options.quick else Size()
    size = replace(size, threads=options.threads, photos=options.photos)
    if options.quick:
        size = replace(size, distinct=QUICK_MEMORY, settled=QUICK_MEMORY // 2)
    parts = (options.part,) if options.part else PARTS
    rows = bench(size, parts, all_cores=options.all_cores)
    publish(rows, options.json)
    return int(not options.quick and any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
