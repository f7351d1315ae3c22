"""Measures start and reading speed of the trainer's loader, against others.

    python scripts/bench_sets_reading.py                          # some ten minutes, quiet
    python scripts/bench_sets_reading.py --quick --part memory --json out.json
    scripts/get_readers OTHER                                     # an environment with the peers
    python scripts/bench_sets_reading.py --peers OTHER/bin/python # and the peers; half an hour

It is the reading counterpart of `bench_sets`. It prints medians of five:

- the time to the first batch of 32 (without imports) of a set of 20,000 samples, on a store with
  100 MB/s and 30 ms per request, for a process without local copies; and that of webdataset;
- pictures per second with two workers: stored pictures of 512 pixels, and originals of 2 megapixels
  scaled to 256 and 512 pixels; and those of the peers, in the environment of `--peers`;
- the share of its time that a stand-in for the trainer waits, if it consumes 80 % of that rate;
- the memory of a process that opens 1 M and 16 M samples and takes batches;
- the variance of batch means of a signal that differs by tar, relative to an exact shuffle.

The peers' copies have the same bytes. No GPU is used.
"""

import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np

from nucleus_model.data.batches import Cursor, Share
from nucleus_model.data.chosen import choose_samples
from nucleus_model.data.feed import Feed
from nucleus_model.data.loader import TrainingSet
from nucleus_model.data.plans import Plans
from nucleus_model.data.streams import StreamOrder
from nucleus_model.settings.settings import QuickTrainSettings
from scripts.benchmark import Measure, measure, parser, publish
from scripts.sets_reading.made import pictures, write_indexes, write_set
from scripts.sets_reading.others import PEERS, peers
from scripts.sets_reading.slow_store import slow_store

DELAY_S, RATE = 0.03, 100e6
WORKERS, BATCH, BUSY = 2, 32, 0.8
HERE = Path(__file__).parent
PARTS = ("start", "decoding", "memory", "mixing")


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        samples: Number of samples of the set on the slow store.
        stored: Number of different pictures of each kind.
        seconds: Duration of measuring a rate.
        rounds: Number of rounds of each measure.
        rows: Numbers of samples of the sets whose memory is compared.
    """

    samples: int = 20_000
    stored: int = 256
    seconds: float = 10.0
    rounds: int = 5
    rows: tuple[int, ...] = (1_000_000, 16_000_000)


QUICK = Size(2_000, 16, 1.5, 1, (100_000, 400_000))


def settings(**changes: object) -> QuickTrainSettings:
    """Returns settings of a run that holds nothing out and caches no pictures."""
    values = {"batch_size": BATCH, "holdout_share": 0.0, "image_cache_bytes": 0}
    return QuickTrainSettings.model_validate(values | changes)


def feed(folder: str, given: QuickTrainSettings) -> Feed:
    """Returns the batches of a set, from the first one on."""
    opened = TrainingSet(folder, loader=given.loader, cache_bytes=0, exact_below=given.exact_below)
    (phase,) = given.plan()
    plans = Plans(opened, choose_samples(opened, given), phase, given, 16)
    batches = plans.batches(Cursor(), Share())
    return Feed(opened, batches, phase, given, plans.batch_sizes)


def first_batch(url: str, loader: Mapping[str, object]) -> float:
    """Returns the seconds until a process without any copies has its first batch."""
    start = time.perf_counter()
    with feed(url, settings(loader=loader)) as batches:
        next(iter(batches))
        return time.perf_counter() - start


def rate(folder: str, seconds: float) -> float:
    """Returns pictures per second with two workers, after the first ten batches."""
    with feed(folder, settings(loader={"workers": WORKERS})) as opened:
        batches = iter(opened)
        for _ in islice(batches, 10):
            pass
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            count += len(next(batches).ids)
        return count / (time.perf_counter() - start)


def waiting(folder: str, seconds: float, pictures_a_second: float) -> float:
    """Returns the share of its time, in percent, that a trainer of a given speed waits."""
    step = BATCH / pictures_a_second
    with feed(folder, settings(loader={"workers": WORKERS})) as opened:
        batches = iter(opened)
        for _ in islice(batches, 10):
            time.sleep(step)
        start, waited = time.perf_counter(), 0.0
        while time.perf_counter() - start < seconds:
            requested = time.perf_counter()
            next(batches)
            waited += time.perf_counter() - requested
            time.sleep(step)
        return 100 * waited / (time.perf_counter() - start)


def write_tars(folder: Path, stored: list[bytes]) -> None:
    """Writes the peers' copy: tars of `.jpg` and `.txt`."""
    (folder / "tars").mkdir(parents=True)
    for number in range(4):
        with tarfile.open(folder / f"tars/{number}.tar", "w") as tar:
            for n, data in enumerate(stored * 4):
                for suffix, content in (("jpg", data), ("txt", b"a harbour at dusk")):
                    member = tarfile.TarInfo(f"{number}{n:06d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, BytesIO(content))


def memory(folder: Path) -> float:
    """Returns the memory, in MB, of a process that opens a set by its indexes and plans batches."""
    code = (
        "import sys; from itertools import islice; from scripts.memory import peak_memory; "
        "from scripts.bench_sets_reading import *; given = settings(exact_below=0); "
        "s = TrainingSet(sys.argv[1], exact_below=0); "
        "p = Plans(s, choose_samples(s, given), given.plan()[0], given, 16); "
        "list(islice(p.batches(Cursor(), Share()), 200)); "
        "print(peak_memory() / 2**20)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent)
    return float(done.stdout)


def mixing(tars: int, a_tar: int) -> float:
    """Returns the variance of batch means of a signal by tar, relative to an exact shuffle."""
    signal = np.random.default_rng(0).normal(size=tars)
    counts = np.full(tars, a_tar)
    order = StreamOrder(counts, batch_size=BATCH, streams=256, seed=0, epoch=0, bucket=0)
    means = [signal[order.batch(n).tars].mean() for n in range(len(order) - 1)]
    return float(np.var(means) / (signal.var() / BATCH))


def start_rows(root: Path, size: Size, python: str | None) -> list[Measure]:
    """Measures the time to the first batch on a slow store."""
    stored = pictures(size.stored, 512, 512)
    write_set(root / "slow", size.samples, 1000, stored, (512, 512), (512, 512))
    write_tars(root / "slow_tars", stored)
    rows = []
    with slow_store(root, DELAY_S, RATE) as url:
        for workers in (0, WORKERS):
            loader = {"workers": workers, "reads": 32}
            times = [first_batch(f"{url}/slow", loader) for _ in range(size.rounds)]
            name = f"first batch of {size.samples}, {workers} workers"
            rows.append(measure(name, times, "s", "<= 3"))
        if python:
            code = (
                "import sys, time, webdataset as w; t = time.perf_counter(); "
                "next(iter(w.WebDataset(sys.argv[1], shardshuffle=False).shuffle(1000)"
                ".decode('rgb8').to_tuple('jpg', 'txt').batched(32))); "
                "print(time.perf_counter() - t)"
            )
            command = [python, "-c", code, f"{url}/slow_tars/tars/{{0..3}}.tar"]
            times = [
                float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                for _ in range(size.rounds)
            ]
            rows.append(measure("first batch, webdataset", times, "s"))
    return rows


def decoding_rows(root: Path, size: Size, python: str | None) -> list[Measure]:
    """Measures pictures per second, and how long a trainer waits."""
    rows = []
    kinds = (("stored 512", (512, 512), 512), ("2 MP to 256", (1632, 1224), 256))
    for name, stored_size, side in (*kinds, ("2 MP to 512", (1632, 1224), 512)):
        folder, stored = root / name.replace(" ", "-"), pictures(size.stored, *stored_size)
        write_set(folder, len(stored) * 16, 500, stored, stored_size, (side, side))
        write_tars(folder / "peers", stored)
        rates, theirs = [], []
        for _ in range(size.rounds):  # alternating, as the machine's speed changes over minutes
            rates.append(rate(str(folder), size.seconds))
            if python:
                theirs.append(peers(python, folder / "peers", WORKERS, side, size.seconds))
        rows.append(measure(f"{name}, 2 workers", rates, "pictures/s"))
        for peer in (peer for peer in PEERS if theirs and all(peer in round_ for round_ in theirs)):
            values = [round_[peer] for round_ in theirs]
            rows.append(measure(f"{name}, {peer}", values, "pictures/s"))
            ahead = [ours / value for ours, value in zip(rates, values, strict=True)]
            rows.append(measure(f"{name}, over {peer}", ahead, "times", ">= 1", peer))
        if name == "stored 512":
            busy = BUSY * float(np.median(rates))
            waits = [waiting(str(folder), size.seconds, busy) for _ in range(size.rounds)]
            rows.append(measure("a trainer at 80 % waits", waits, "%", "<= 3"))
    return rows


def memory_rows(root: Path, size: Size) -> list[Measure]:
    """Measures the memory at two numbers of samples."""
    megabytes = []
    for samples in size.rows:
        write_indexes(root / f"rows-{samples}", samples // 10_000, 10_000, 10)
        megabytes.append(memory(root / f"rows-{samples}"))
    rows = [
        measure(f"memory at {samples:,} samples", [value], "MB")
        for samples, value in zip(size.rows, megabytes, strict=True)
    ]
    return [
        *rows,
        measure("memory, largest less smallest", [megabytes[-1] - megabytes[0]], "MB", "<= 100"),
    ]


def mixing_rows() -> list[Measure]:
    """Measures the mixing of few and of many tars."""
    rows = []
    for tars in (70, 700):
        value = abs(100 * mixing(tars, 280_000 // tars) - 100)
        rows.append(measure(f"mixing of {tars} tars off an exact shuffle's", [value], "%", "<= 10"))
    return rows


def main() -> None:
    """Measures the chosen parts, and prints the rows."""
    options = parser(__doc__ or "")
    options.add_argument("--peers", metavar="PYTHON", help="an environment with the peers")
    options.add_argument("--part", action="append", choices=PARTS, help="some rows alone")
    given = options.parse_args()
    size = QUICK if given.quick else Size()
    with tempfile.TemporaryDirectory() as folder:
        root, python = Path(folder), given.peers
        made = {
            "start": lambda: start_rows(root, size, python),
            "decoding": lambda: decoding_rows(root, size, python),
            "memory": lambda: memory_rows(root, size),
            "mixing": mixing_rows,
        }
        rows = [row for part in given.part or PARTS for row in made[part]()]
    publish(rows, given.json)


if __name__ == "__main__":
    main()
