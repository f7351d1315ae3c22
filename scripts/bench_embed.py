"""`embed` beside its two floors: the bare model on ready tensors, and the bare decoders' pool.

    python scripts/bench_embed.py                            # a minute or two
    python scripts/bench_embed.py --quick --json embed.json
    python scripts/bench_embed.py --probe --model FOLDER --library transformers --device cuda

Pictures are JPEGs of 2 megapixels: photographs of the world, scaled up. Rounds alternate, so that
what else the machine does falls on both sides; a row is the median of the rounds' own quotients.

- *Model thread*: the processor time of the thread that runs the model (`time.thread_time`), in the
  stage and in a loop that does nothing but run the model on tensors that are ready. Decoders beside
  it take caches from either; the row `beside busy decoders` says how much that is.
- *Pool*: pictures a second of the stage whose model is a stand-in that takes 2 ms a batch of 32, as
  a GPU does, and of a pool of as many threads that makes the same tensors and does nothing else.
- *Scaled decode*: the cosine of a picture's vector with that of its full decode.

`--probe` says what batches of several sizes cost, so that `embed.batch` can be chosen: it is part
of the tables' hash, and so is never chosen by the stage itself.
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

# As in a worker of one CPU, before numpy and torch.
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
    """How much is measured: batches a round, rounds, and threads of the pool."""

    batches: int = 8
    rounds: int = 5
    threads: int = 2
    size: tuple[int, int] = MEGAPIXELS


class StandIn(Embedder):
    """A model that takes as long as on a GPU, and no processor; its pixels are the real one's."""

    def __init__(self, real: Embedder) -> None:
        self.batch, self.width, self.sides, self.logit = STAND_IN_BATCH, 4, real.sides, (1.0, 0.0)
        self._real = real

    def prepare(self, picture: Image.Image, pixels: Pixels) -> None:
        """The real one's."""
        self._real.prepare(picture, pixels)

    def tokens(self, texts: Sequence[str]) -> Any:
        """None: there are no texts."""

    def start_images(self, pixels: Pixels) -> Any:
        """Sleeps."""
        time.sleep(STAND_IN_S)
        return np.ones((self.batch, self.width), np.float32)

    def start_texts(self, tokens: Any) -> Any:
        """None: there are no texts."""

    def finish(self, started: Any) -> Any:
        """It is done already."""
        return started


def photographs(count: int, size: tuple[int, int]) -> list[bytes]:
    """JPEGs with the detail of photographs: scenes and fine noise."""
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
    """Rows as the runner hands them out, each with its own picture."""
    for number in range(count):
        data = files[number % len(files)]
        yield Row(0, number, f"{number:032x}", "f.jpg", data, {}, frozenset({"image"}))


def stage(model: Embedder, files: Sequence[bytes], count: int, threads: int, clock: Clock) -> None:
    """Does rows as `Embed.process` does."""
    lanes = [Lane(model, "image", "text")]
    for work in Batches(lanes, lambda row: "", threads, clock).run(rows_of(files, count)):
        if work.failure:
            raise RuntimeError(work.failure.reason)


def bare_model(model: Embedder, pixels: Pixels, batches: int) -> None:
    """Runs the model on tensors that are ready."""
    for _ in range(batches):
        model.finish(model.start_images(pixels))


def bare_pool(model: Embedder, files: Sequence[bytes], count: int, threads: int) -> None:
    """Makes the same tensors with as many threads, and does nothing else."""
    places = np.concatenate([model.room() for _ in range(3)])

    def one(number: int) -> None:
        picture = open_picture(files[number % len(files)]).reduced(model.least)
        model.prepare(Image.fromarray(picture), places[number % len(places)])

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(one, range(count)):
            pass


def decoders(model: Embedder, files: Sequence[bytes], count: int, threads: int) -> None:
    """Decodes at the same scale with as many threads; no tensor is made."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(
            lambda n: open_picture(files[n % len(files)]).reduced(model.least), range(count)
        ):
            pass


def timed(clock: Callable[[], float], work: Callable[[], None]) -> float:
    """Seconds of some work by a clock."""
    start = clock()
    work()
    return clock() - start


def thread_rows(model: Embedder, files: Sequence[bytes], size: Size) -> Iterator[Measure]:
    """The model thread's processor time in the stage over that of the bare model."""
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
    for name, found, goal in (
        ("stage over bare", stages, GOAL_THREAD),
        ("bare beside busy decoders, over bare", besides, None),
    ):
        shares = [one / other for one, other in zip(found, bares, strict=True)]
        yield measure(f"model thread, {name}", shares, "times", goal, against)
    for name, found in (("bare", bares), ("in the stage", stages)):
        yield measure(f"model thread, {name}", [1000 * s / count for s in found], "ms a picture")


@contextmanager
def decoding(model: Embedder, files: Sequence[bytes], threads: int) -> Iterator[None]:
    """Keeps as many threads busy as the stage's pool has, with the same work."""
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
    """Pictures a second of the stage with the stand-in, over those of the bare pool."""
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
    shares = [one / other for one, other in zip(stages, pools, strict=True)]
    yield measure("2 ms model, stage over pool", shares, "times", GOAL_POOL, "the bare pool")
    yield measure("2 ms model, processor time, stage over pool", processor, "times")
    yield measure("2 ms model, stage", stages, "pictures/s")
    yield measure("2 ms model, pool: decode and transform", pools, "pictures/s")
    yield measure("2 ms model, pool: decode alone", alone, "pictures/s")
    yield measure("2 ms model, its idle share", idle, "")


def decode_rows(model: Embedder, files: Sequence[bytes]) -> Iterator[Measure]:
    """How far vectors move by the scaled decode."""
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
    """What batches of several sizes cost, of a model on a device."""
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
            took = [1000 * each / (times * batch) for each in seconds]
            yield measure(f"{name}, batches of {batch}", took, "ms each")


def repeat(model: Embedder, start: Callable[[], Any], times: int) -> None:
    """Embeds the same batch some times."""
    for _ in range(times):
        model.finish(start())


def bench(size: Size) -> list[Measure]:
    """All rows, with the packaged model."""
    model = load_clip()
    files = photographs(8, size.size)
    return [
        *thread_rows(model, files, size),
        *pool_rows(model, files, size),
        *decode_rows(model, files),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
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
