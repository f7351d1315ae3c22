"""Measures duplicates of which very many are near each other, but unequal (`dedup.crowds`).

    python scripts/bench_crowds.py              # 5,000 and 20,000 copies of one picture
    python scripts/bench_crowds.py --quick --json crowds.json

All copies are near each other, so there are K^2 / 2 pairs of K copies. Rows: the search and the
walk, each in a process of its own with its largest memory. Where all pairs fit into memory, a
process that stores them all is measured beside it, and both walks must decide alike.
"""

import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nucleus_data.stages.dedup import crowds
from nucleus_data.stages.dedup.pairs import find_duplicates
from nucleus_data.stages.dedup.walk import walk
from scripts.benchmark import Measure, measure, parser, publish
from scripts.memory import peak_memory

CODES = 512  # different pHashes
FLIPPED = 15  # bits of the 256-bit hash in which a copy differs from the first one, at most
SHAPE = (640, 480)
LISTED, ALL = "listed", "all pairs"


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        copies: Numbers of copies.
        stored: Most copies of which all pairs are stored, too.
        rounds: Number of rounds.
    """

    copies: Sequence[int] = (5_000, 20_000)
    stored: int = 5_000
    rounds: int = 3


QUICK = Size((1_000, 2_000), 1_000, 1)


def copies_of_one(count: int) -> pa.Table:
    """Makes a table of near, unequal copies: two of the 64 bits and some of the 256 differ."""
    rng = np.random.default_rng(count)
    pairs = [(one, other) for one in range(64) for other in range(one)][:CODES]
    phash = np.array([1 << one | 1 << other for one, other in pairs], np.uint64)
    wide = np.zeros((count, 256), np.uint8)
    flipped = rng.integers(0, 256, (count, FLIPPED))
    wide[np.arange(count)[:, None], flipped] = 1
    numbers = np.arange(count)
    names = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
    return pa.table(
        {
            "shard": pa.array(numbers // 10_000, pa.int32()),
            "row": pa.array(numbers % 10_000, pa.int32()),
            "id": [name[:32] for name in names],
            "sha256": names,
            "phash": pa.array(phash[rng.integers(0, len(phash), count)]),
            "hash256": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(32), count, [None, pa.py_buffer(np.packbits(wide, axis=1).tobytes())]
            ),
            "width": pa.array(np.full(count, SHAPE[0], np.int32)),
            "height": pa.array(np.full(count, SHAPE[1], np.int32)),
        }
    )


def child(count: int, how: str) -> None:
    """Searches and walks; prints seconds of both, gigabytes, rows, and a sum of the decisions."""
    if how == ALL:
        crowds.CROWD = count
    find_duplicates(copies_of_one(100))  # compiles the search
    table = copies_of_one(count)
    start = time.perf_counter()
    pairs = find_duplicates(table)
    found = time.perf_counter()
    rank = np.random.default_rng(1).permutation(count)
    kept_for = walk(table["id"], np.ones(count, bool), rank, pairs)
    end = time.perf_counter()
    decided = hashlib.sha256(str(kept_for.to_pylist()).encode()).hexdigest()
    kept = kept_for.null_count
    print(found - start, end - found, peak_memory() / 2**30, pairs.num_rows, kept, decided)


def run(count: int, how: str) -> tuple[list[float], str]:
    """Runs a child, and returns its numbers and the sum of its decisions."""
    code = (
        "import sys; from scripts.bench_crowds import child; child(int(sys.argv[1]), sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(count), how]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    *numbers, decided = done.stdout.split()
    return [float(number) for number in numbers], decided


def rows(size: Size) -> list[Measure]:
    """Measures everything, and returns the rows of the table."""
    measures = []
    for count in size.copies:
        hows = (LISTED, ALL) if count <= size.stored else (LISTED,)
        taken: dict[str, list[list[float]]] = {how: [] for how in hows}
        for _ in range(size.rounds):
            results = {how: run(count, how) for how in hows}
            if len({decided for _, decided in results.values()}) > 1:
                raise AssertionError(f"{count} copies: the walks over {hows} decide differently")
            for how, (numbers, _) in results.items():
                taken[how].append(numbers)
        for how, runs in taken.items():
            what = f"{count:,} near copies, {how}"
            search, walked, memory, stored, kept = map(list, zip(*runs, strict=True))
            measures += [
                measure(f"{what}: search", search, "s"),
                measure(f"{what}: walk", walked, "s"),
                measure(f"{what}: largest memory", memory, "GB"),
                measure(f"{what}: rows", stored, ""),
                measure(f"{what}: kept", kept, ""),
            ]
    return measures


def main() -> None:
    """Runs the command."""
    args = parser(__doc__ or "").parse_args()
    publish(rows(QUICK if args.quick else Size()), args.json)


if __name__ == "__main__":
    main()
