"""Compares `embed` with its two bounds: the bare model on ready tensors, and a bare decoding pool.

    python scripts/bench_embed.py                            # a minute or two
    python scripts/bench_embed.py --quick --json embed.json
    python scripts/bench_embed.py --probe --model FOLDER --library transformers --device cuda

Pictures are JPEGs of 2 megapixels, of synthetic photographs. Rounds alternate, so that other work
on the machine affects both sides; each row is the median of the ratios of the rounds.

- *Model thread*: the processor time of the thread that runs the model (`time.thread_time`), in the
  stage, and in a loop that only runs the model on ready tensors. Decoding threads compete with it
  for the caches; the row `beside busy decoders` shows by how much.
- *Pool*: pictures per second of the stage with a stand-in model that takes 2 ms per batch of 32, as
  on a GPU; and of a pool with the same number of threads that only makes the same tensors.
- *Scaled decode*: the cosine of a picture's vector with that of its full decode.

`--probe` measures the cost of batches of several sizes, to help choose `embed.batch`. The stage
never chooses it, as it is part of the tables' hash.
"""

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

# As in a worker with one CPU; must be set before numpy and torch are imported.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from PIL import Image

from nucleus_data.engines.clip import load_clip
from nucleus_data.engines.embedder import Embedder, Pixels
from nucleus_data.pixels import open_picture
from nucleus_data.stage import Row
from nucleus_data.stages.embed.batches import Batches, Clock, Lane
from nucleus_data.stages.embed.settings import EmbedSettings, model_tables
from nucleus_data.world import render, scene
from scripts.benchmark import Measure, measure, parser, publish

MEGAPIXELS = (1920, 1080)
GOAL_THREAD, GOAL_POOL = "<= 1.08", ">= 0.9"
now = time.perf_counter
STAND_IN_S, STAND_IN_BATCH = 0.002, 32
PROBED = (1, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Size:
    """How much is measured: batches per round, rounds, threads of the pool, size of pictures."""

    batches: int = 8
    rounds: int = 5
    threads: int = 2
    size: tuple[int, int] = MEGAPIXELS


class StandIn(Embedder):
    """A model that takes as long as on a GPU, without using the processor."""

    def __init__(self, real: Embedder) -> None:
        self.batch, self.width, self.sides, self.logit = STAND_IN_BATCH, 4, real.sides, (1.0, 0.0)
        self._real = real

    def prepare(self, picture: Image.Image, pixels: Pixels) -> None:
        """Prepares pixels like the real model."""
        self._real.prepare(picture, pixels)

    def tokens(self, texts: Sequence[str]) -> Any:
        """None: there are no texts."""

    def start_images(self, pixels: Pixels) -> Any:
        """Sleeps, in place of the model."""
        time.sleep(STAND_IN_S)
        return np.ones((self.batch, self.width), np.float32)

    def start_texts(self, tokens: Any) -> Any:
        """None: there are no texts."""

    def finish(self, started: Any) -> Any:
        """Returns the result, which is complete already."""
        return started


def photographs(count: int, size: tuple[int, int]) -> list[bytes]:
    """Makes JPEGs with the detail of photographs: scenes and fine noise."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        pixels = np.asarray(render(scene(0, number), *size), np.int16)
        noise = rng.normal(0, 6, pixels.shape)
        stream = io.BytesIO()
        noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(stream, "JPEG", quality=85)
        files.append(stream.getvalue())
    return files


def rows_of(files: Sequence[bytes], count: int) -> Iterator[Row]:
    """Yields rows like the runner, each with its own picture."""
    for number in range(count):
        data = files[number % len(files)]
        yield Row(0, number, f"{number:032x}", "f.jpg", data, {}, frozenset({"image"}))


def stage(model: Embedder, files: Sequence[bytes], count: int, threads: int, clock: Clock) -> None:
    """Processes rows like `Embed.process`."""
    lanes = [Lane(model, "image", "text")]
    for work in Batches(lanes, lambda row: "", threads, clock).run(rows_of(files, count)):
        if work.failure:
            raise RuntimeError(work.failure.reason)


def bare_model(model: Embedder, pixels: Pixels, batches: int) -> None:
    """Runs the model on ready tensors."""
    for _ in range(batches):
        model.finish(model.start_images(pixels))


def bare_pool(model: Embedder, files: Sequence[bytes], count: int, threads: int) -> None:
    """Only makes the same tensors, with the same number of threads."""
    places = np.concatenate([model.room() for _ in range(3)])

    def one(number: int) -> None:
        picture = open_picture(files[number % len(files)]).reduced(model.least)
        model.prepare(Image.fromarray(picture), places[number % len(places)])

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(one, range(count)):
            pass


def decoders(model: Embedder, files: Sequence[bytes], count: int, threads: int) -> None:
    """Only decodes at the same scale, with the same number of threads, without making tensors."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(
            lambda n: open_picture(files[n % len(files)]).reduced(model.least), range(count)
        ):
            pass


def timed(clock: Callable[[], float], work: Callable[[], None]) -> float:
    """Returns the seconds of some work, by a clock."""
    start = clock()
    work()
    return clock() - start


def thread_rows(model: Embedder, files: Sequence[bytes], size: Size) -> Iterator[Measure]:
    """Compares the processor time of the model's thread in the stage with the bare model's."""
    count = size.batches * model.batch
    pixels = model.room()
    for file, place in zip(files, pixels, strict=False):
        model.prepare(Image.fromarray(open_picture(file).reduced(model.least)), place)
    bare_model(model, pixels, 2)
    bares, besides, stages = [], [], []
    bare = partial(bare_model, model, pixels, size.batches)
    for _ in range(2 * size.rounds - 1):
        bares.append(timed(time.thread_time, bare))
        staged = partial(stage, model, files, count, size.threads, Clock())
        stages.append(timed(time.thread_time, staged))
        with decoding(model, files, size.threads):
            besides.append(timed(time.thread_time, bare))
    against = "the bare model"
    for name, seconds, goal in (
        ("stage over bare", stages, GOAL_THREAD),
        ("bare beside busy decoders, over bare", besides, None),
    ):
        shares = [s / bare_s for s, bare_s in zip(seconds, bares, strict=True)]
        yield measure(f"model thread, {name}", shares, "times", goal, against)
    for name, seconds in (("bare", bares), ("in the stage", stages)):
        yield measure(f"model thread, {name}", [1000 * s / count for s in seconds], "ms a picture")


@contextmanager
def decoding(model: Embedder, files: Sequence[bytes], threads: int) -> Iterator[None]:
    """Keeps the same number of threads busy as the stage's pool has, with the same work."""
    stop = threading.Event()

    def work() -> None:
        place = model.room()[0]
        while not stop.is_set():
            picture = open_picture(files[0]).reduced(model.least)
            model.prepare(Image.fromarray(picture), place)

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(threads):
            pool.submit(work)
        try:
            yield
        finally:
            stop.set()


def pool_rows(model: Embedder, files: Sequence[bytes], size: Size) -> Iterator[Measure]:
    """Compares pictures per second of the stage with the stand-in, and of the bare pool."""
    standing = StandIn(model)
    count = size.batches * standing.batch
    bare_pool(standing, files, standing.batch, size.threads)
    pools, alone, stages, idle, processor = [], [], [], [], []
    for _ in range(size.rounds):
        clock = Clock()
        made = (standing, files, count, size.threads)
        before = time.process_time()
        pools.append(count / timed(now, partial(bare_pool, *made)))
        between = time.process_time()
        stages.append(count / timed(now, partial(stage, *made, clock)))
        after = time.process_time()
        processor.append((after - between) / (between - before))
        alone.append(count / timed(now, partial(decoders, *made)))
        spent = clock.take()
        idle.append(spent["model_waits"] / (spent["model"] + spent["model_waits"]))
    shares = [stage_rate / rate for stage_rate, rate in zip(stages, pools, strict=True)]
    yield measure("2 ms model, stage over pool", shares, "times", GOAL_POOL, "the bare pool")
    yield measure("2 ms model, processor time, stage over pool", processor, "times")
    yield measure("2 ms model, stage", stages, "pictures/s")
    yield measure("2 ms model, pool: decode and transform", pools, "pictures/s")
    yield measure("2 ms model, pool: decode alone", alone, "pictures/s")
    yield measure("2 ms model, its idle share", idle, "")


def decode_rows(model: Embedder, files: Sequence[bytes]) -> Iterator[Measure]:
    """Measures how much the scaled decode changes vectors."""
    pictures = [open_picture(file) for file in files]
    full, reduced = (
        model.images([Image.fromarray(made(picture)) for picture in pictures])
        for made in (lambda p: p.rgb(), lambda p: p.reduced(model.least))
    )
    moved = 1 - np.sum(full * reduced, axis=1, dtype=np.float64)
    name = "scaled decode, 1 - cosine with the full one"
    yield measure(name, moved.tolist(), "", "<= 0.01")
    yield measure("scaled decode, the largest of them", [float(moved.max())], "")


def probe_rows(settings: EmbedSettings) -> Iterator[Measure]:
    """Measures the cost of batches of several sizes, for a model on a device."""
    (tables,) = model_tables(settings)
    for batch in PROBED:
        given = tables.settings
        model = load_clip(tables.found(), given.device, given.precision, given.library, batch)
        for name, work in (
            ("pictures", partial(model.start_images, model.room())),
            ("texts", partial(model.start_texts, model.tokens(["a picture"]))),
        ):
            times = max(1, 64 // batch)
            repeat(model, work, 1)
            seconds = [timed(now, partial(repeat, model, work, times)) for _ in range(3)]
            took = [1000 * s / (times * batch) for s in seconds]
            yield measure(f"{name}, batches of {batch}", took, "ms each")


def repeat(model: Embedder, start: Callable[[], Any], times: int) -> None:
    """Embeds the same batch several times."""
    for _ in range(times):
        model.finish(start())


def bench(size: Size) -> list[Measure]:
    """Measures all rows with the packaged model."""
    model = load_clip()
    files = photographs(8, size.size)
    return [
        *thread_rows(model, files, size),
        *pool_rows(model, files, size),
        *decode_rows(model, files),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    command = parser(__doc__)
    command.add_argument("--threads", type=int, default=2, help="of the pool; default 2")
    command.add_argument("--probe", action="store_true", help="what batches cost, and nothing else")
    for name, default in (
        ("model", "nano"),
        ("revision", None),
        ("library", "open_clip"),
        ("device", "cpu"),
        ("precision", "fp32"),
    ):
        command.add_argument(f"--{name}", default=default, help=f"embed.{name}, for --probe")
    options = command.parse_args(arguments)
    if options.probe:
        names = ("model", "revision", "library", "device", "precision")
        settings = EmbedSettings(**{name: getattr(options, name) for name in names})
        publish(list(probe_rows(settings)), options.json)
        return 0
    quick = Size(batches=1, rounds=1, threads=options.threads, size=(480, 320))
    publish(bench(quick if options.quick else Size(threads=options.threads)), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
