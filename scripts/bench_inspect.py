"""Measures the speed of `inspect`: all its signals, against a few naive ones, and decoding alone.

    pip install scikit-image scikit-learn               # the photographs
    pip install opencv-python-headless imagehash imagededup cleanvision     # the peers
    python scripts/bench_inspect.py                     # three minutes
    python scripts/bench_inspect.py --quick --json inspect.json

All candidates get the same pictures: JPEGs of real photographs (4:2:0, quality 85 to 92).
Photographs that are too small are continued by their mirror image, both at their own scale and
enlarged by a half. All candidates use one thread, and files in the page cache:

- inspect: `Inspect`, with every built-in group of signals that is on by default, and the SHA-256
  that ingest computes.
- naive: ImageHash's pHash and Pillow's entropy of the picture decoded by Pillow, the variance of
  OpenCV's Laplacian and the mean luma of the picture decoded by OpenCV, and SHA-256. In the next
  row, both libraries share one decode.
- imagededup: `PHash.encode_image`. cleanvision: `Imagelab.find_issues`, with its defaults.
- floor: only libjpeg-turbo's decode to RGB, at its smallest scale that is large enough for the
  small view (a long side of 256 pixels): a quarter for 2 megapixels, half for 0.2.
- all pixels: only its strict decode to RGB, at full size. `inspect` needs it, as it measures
  sharpness, blocks and enlargement at full size, and detects damage by the pixels. Most of the time
  of a decode is reading the coded bits, which a scale does not save; so the floor is not far below.

Rates are images per second of processor time. Rounds alternate, ratios are computed within a round,
and medians are shown. Two processes are timed by the clock, in the third of the rounds with the
least other work on the machine; and by their own processor time, in all rounds. Other work slows
the former; only shared caches and memory slow the latter. The last row shows the other work.
"""

import contextlib
import hashlib
import importlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

# One thread; must be set before numpy is imported, and also applies to torch.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import psutil
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from nucleus_data.pixels import SMALL_SIDE, fit
from nucleus_data.stage import Result, Row
from nucleus_data.stages.inspect.stage import Inspect, InspectSettings
from scripts.benchmark import Measure, measure, parser, publish
from scripts.memory import peak_memory

MB = 1 << 20
PHOTOGRAPHS = "pip install scikit-image scikit-learn"
QUALITIES = (85, 88, 90, 92)
LARGEST = (6000, 4000)


@dataclass(frozen=True)
class Setting:
    """Pictures of one size, and the goal for them.

    Attributes:
        name: The size in words.
        width: Width in pixels.
        height: Height in pixels.
        naive_goal: Goal for the speed, as a multiple of the naive way's.
    """

    name: str
    width: int
    height: int
    naive_goal: str


SETTINGS = (
    Setting("2 megapixels", 1632, 1224, ">= 4"),
    Setting("0.2 megapixels", 512, 384, ">= 2"),
)
FLOOR_GOAL = ">= 0.4"


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        pictures: Number of pictures of each size.
        rounds: Number of rounds.
        seconds: Minimum processor time of a way in a round.
    """

    pictures: int = 12
    rounds: int = 15
    seconds: float = 0.4


QUICK = Size(pictures=6, rounds=3, seconds=0.1)

Files = Sequence[Path]
Work = Callable[[Files], object]


def photographs() -> list[Image.Image]:
    """Returns real photographs that are part of packages.

    Raises:
        SystemExit: The packages are missing; the message has the command that installs them.
    """
    try:
        from skimage import data
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise SystemExit(f"the photographs are missing ({error}): {PHOTOGRAPHS}") from error
    pixels = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    return [Image.fromarray(image) for image in (*pixels, *load_sample_images().images)]


def filled(photograph: Image.Image, width: int, height: int) -> Image.Image:
    """Returns a photograph's upper left part, continued by its mirror image if it is too small."""
    pixels = np.asarray(photograph)
    missing = (max(0, height - pixels.shape[0]), max(0, width - pixels.shape[1]))
    pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), "symmetric")
    return Image.fromarray(pixels[:height, :width])


def make_files(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """Writes JPEGs of photographs.

    Args:
        folder: The folder to create.
        count: Number of files; they repeat after twice the number of photographs.
        width: Width in pixels.
        height: Height in pixels.
    """
    folder.mkdir(parents=True)
    originals = photographs()
    files = []
    for index in range(count):
        photograph = originals[index % len(originals)]
        if index // len(originals) % 2:
            size = (photograph.width * 3 // 2, photograph.height * 3 // 2)
            photograph = photograph.resize(size, Image.Resampling.BICUBIC)
        files.append(folder / f"{index:03d}.jpg")
        quality = QUALITIES[index % len(QUALITIES)]
        filled(photograph, width, height).save(files[-1], quality=quality, subsampling="4:2:0")
    return files


def inspect() -> Work:
    """Makes the work of `inspect`: every group of signals, and SHA-256."""
    stage = Inspect(InspectSettings())
    stage.setup()
    wanted = frozenset(spec.name for spec in stage.tables())

    def work(files: Files) -> list[str]:
        images = [file.read_bytes() for file in files]
        rows = (
            Row(0, number, f"{number:032x}", file.name, image, {}, wanted)
            for number, (file, image) in enumerate(zip(files, images, strict=True))
        )
        for result in stage.process(rows):
            if not isinstance(result, Result) or set(result.values) != wanted:
                raise RuntimeError(f"not measured: {result}")
        return [hashlib.sha256(image).hexdigest() for image in images]

    return work


def naive(decodes: int = 2) -> Work:
    """Makes the naive work: pHash, Laplacian variance, entropy, luma and SHA-256, by libraries.

    Args:
        decodes: 2 if each library decodes the file; 1 if OpenCV gets the picture of Pillow.
    """
    cv2 = importlib.import_module("cv2")
    imagehash = importlib.import_module("imagehash")
    cv2.setNumThreads(1)

    def work(files: Files) -> list[tuple[Any, ...]]:
        values: list[tuple[Any, ...]] = []
        for file in files:
            data = file.read_bytes()
            image = Image.open(io.BytesIO(data)).convert("RGB")
            grey = image.convert("L")
            if decodes == 2:
                luma = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
            else:
                luma = np.asarray(grey)
            values.append(
                (
                    str(imagehash.phash(image)),
                    cv2.Laplacian(luma, cv2.CV_64F).var(),
                    grey.entropy(),
                    luma.mean(),
                    hashlib.sha256(data).hexdigest(),
                )
            )
        return values

    return work


def naive_decoding_once() -> Work:
    """Makes the naive work with one decode for both libraries."""
    return naive(decodes=1)


def imagededup() -> Work:
    """Makes the work of imagededup: its perceptual hash."""
    methods = importlib.import_module("imagededup.methods")
    hasher = methods.PHash(verbose=False)
    return lambda files: [hasher.encode_image(image_file=str(file)) for file in files]


def cleanvision() -> Work:
    """Makes the work of cleanvision: all issues that it looks for by default."""
    module = importlib.import_module("cleanvision")

    def work(files: Files) -> None:
        with (
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            lab = module.Imagelab(filepaths=[str(file) for file in files])
            lab.find_issues(n_jobs=1, verbose=False)

    return work


def floor() -> Work:
    """Makes the work of libjpeg-turbo's scaled decode alone."""

    def work(files: Files) -> list[NDArray[np.uint8]]:
        decoded = []
        for file in files:
            data = file.read_bytes()
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            width, height = fit(width, height, SMALL_SIDE)
            decoded.append(simplejpeg.decode_jpeg(data, "RGB", min_width=width, min_height=height))
        return decoded

    return work


def all_pixels() -> Work:
    """Makes the work of libjpeg-turbo's full decode alone, as `inspect` uses it."""

    def work(files: Files) -> None:
        for file in files:
            simplejpeg.decode_jpeg(file.read_bytes(), "RGBX", fastupsample=True, strict=True)

    return work


# Name -> the function that makes the work, and the command that installs its packages.
WAYS: dict[str, tuple[Callable[[], Work], str]] = {
    "inspect": (inspect, ""),
    "naive": (naive, "pip install opencv-python-headless imagehash"),
    "naive, one decode": (
        naive_decoding_once,
        "pip install opencv-python-headless imagehash",
    ),
    "imagededup": (imagededup, "pip install imagededup"),
    "cleanvision": (cleanvision, "pip install cleanvision"),
    "floor": (floor, ""),
    "all pixels": (all_pixels, ""),
}


def rate(work: Work, files: Files, seconds: float) -> float:
    """Returns images per second of processor time."""
    passes, started = 0, time.process_time()
    while True:
        work(files)
        passes += 1
        used = time.process_time() - started
        if used >= seconds:
            return passes * len(files) / used


def bench_rates(setting: Setting, files: Files, size: Size) -> list[Measure]:
    """Times all ways on the same pictures."""
    works: dict[str, Work] = {}
    missing = {}
    for name, (make, install) in WAYS.items():
        try:
            works[name] = make()
        except ImportError:
            missing[name] = f"not installed: {install}"
            continue
        works[name](files)  # warms up: imports and compilation
    rates: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(size.rounds):
        for name in list(works)[:: -1 if turn % 2 else 1]:
            rates[name].append(rate(works[name], files, size.seconds))
        say(f"{setting.name}, round {turn + 1} of {size.rounds}")

    def times(other: str) -> list[float]:
        return [a / b for a, b in zip(rates["inspect"], rates[other], strict=True)]

    rows = []
    for name in WAYS:
        title = f"{setting.name}: {name}"
        if name in missing:
            rows.append(Measure(title, 0.0, "images/s", rounds=0, against=missing[name]))
        else:
            rows.append(measure(title, rates[name], "images/s"))
    title = f"{setting.name}: inspect"
    if "naive" in rates:
        rows.append(measure(title, times("naive"), "times", setting.naive_goal, "naive"))
    rows.append(measure(title, times("floor"), "times", FLOOR_GOAL, "floor"))
    return rows


_WORK: list[Work] = []


def work_for(files: Files, seconds: float) -> int:
    """Processes files repeatedly for some seconds; to be called in a process of its own.

    Returns:
        The peak memory of the process, in bytes.
    """
    import nucleus_data.runner.actor  # noqa: F401 - a worker has Ray loaded

    if not _WORK:
        _WORK.append(inspect())
    started = time.perf_counter()
    _WORK[0](files)
    while time.perf_counter() - started < seconds:
        _WORK[0](files)
    return peak_memory()


def passes_for(files: Files, passes: int) -> float:
    """Processes files `passes` times; to be called in a process of its own.

    Returns:
        The processor time, in seconds.
    """
    started = time.process_time()
    for _ in range(passes):
        _WORK[0](files)
    return time.process_time() - started


@dataclass(frozen=True)
class Together:
    """One round of two processes that work alone, and together.

    Attributes:
        by_clock: Speed of both together, as a multiple of one alone, by wall-clock time.
        by_processor: The same by the processor time that they used.
        others: Mean number of cores that other processes used meanwhile.
    """

    by_clock: float
    by_processor: float
    others: float


def together(first: Pool, second: Pool, files: Files, passes: int) -> Together:
    """Times one process alone, both at the same time, and the other alone."""
    clock, used = [], []
    start, own, everyone = time.perf_counter(), own_seconds(), machine_seconds()
    for pools in ((first,), (first, second), (second,)):
        started = time.perf_counter()
        waiting = [pool.apply_async(passes_for, (files, passes)) for pool in pools]
        used.append(sum(done.get() for done in waiting))
        clock.append(time.perf_counter() - started)
    others = machine_seconds() - everyone - (own_seconds() - own) - sum(used)
    return Together(
        (clock[0] + clock[2]) / clock[1],
        2 * (used[0] + used[2]) / used[1],
        max(others, 0.0) / (time.perf_counter() - start),
    )


def bench_processes(setting: Setting, files: Files, size: Size) -> list[Measure]:
    """Compares two processes with one."""
    context = get_context("spawn")
    with context.Pool(1) as first, context.Pool(1) as second:
        for ready in [pool.apply_async(work_for, (files, 0.0)) for pool in (first, second)]:
            ready.get()
        passes = max(1, round(120 * size.seconds / len(files)))
        rounds = []
        for _ in range(size.rounds):
            rounds.append(together(first, second, files, passes))
            say("two processes")
    quiet = sorted(rounds, key=lambda round_: round_.others)[: -(-len(rounds) // 3)]
    name = f"{setting.name}: inspect in two processes"
    speeds, least = [round_.by_clock for round_ in quiet], [round_.others for round_ in quiet]
    return [
        measure(name, speeds, "times", ">= 1.9", "one process"),
        measure("other work in those rounds", least, f"cores of {psutil.cpu_count()}"),
        measure(f"{name}, by processor time", [r.by_processor for r in rounds], "times"),
    ]


def peak(files: Files, seconds: float) -> float:
    """Returns the peak memory of a new process, in MB."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work_for, (files, seconds)) / MB


def bench_memory(setting: Setting, files: Files, folder: Path) -> list[Measure]:
    """Measures the peak memory of a worker."""
    width, height = LARGEST
    large = make_files(folder, 1, width, height)
    say("memory")
    return [
        measure(f"{setting.name}: peak memory of a worker", [peak(files, 3.0)], "MB", "<= 400"),
        measure(f"{width * height // 10**6} megapixels: the same", [peak(large, 3.0)], "MB"),
    ]


def say(line: str) -> None:
    """Prints a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def own_seconds() -> float:
    """Returns the processor seconds of this process and of its finished children."""
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def machine_seconds() -> float:
    """Returns the processor seconds of the whole machine."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def run(size: Size, folder: Path) -> list[Measure]:
    """Measures everything, and returns the rows; the caller removes the folder."""
    start, own, everyone = time.perf_counter(), own_seconds(), machine_seconds()
    rows = []
    for setting in SETTINGS:
        files = make_files(folder / setting.name, size.pictures, setting.width, setting.height)
        rows += bench_rates(setting, files, size)
        if setting is SETTINGS[0]:
            rows += bench_processes(setting, files, size)
            rows += bench_memory(setting, files, folder / "large")
    others = machine_seconds() - everyone - (own_seconds() - own)
    load = max(others, 0.0) / (time.perf_counter() - start)
    return [*rows, measure("other work meanwhile", [load], f"cores of {psutil.cpu_count()}")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-inspect-") as folder:
        rows = run(QUICK if options.quick else Size(), Path(folder))
    publish(rows, options.json)
    return 0


if __name__ == "__main__":
    # Child processes import their functions by this module's name, so it must not be `__main__`.
    from scripts.bench_inspect import main as imported_main

    sys.exit(imported_main())
