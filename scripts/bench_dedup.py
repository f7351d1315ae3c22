"""How fast all pairs of near 64-bit codes are found, and in how much memory.

    python scripts/bench_dedup.py                          # some ten minutes on two idle cores
    python scripts/bench_dedup.py --quick --json dedup.json
    python scripts/bench_dedup.py --pictures stamps        # codes with the bits of real pictures

Codes are uniform, but for 8 % that are 1 to 4 bits from another one and 0.5 % that are one of four
hot ones. Each size runs in a process of its own, whose largest memory is measured. The peer is a
join of the same exact scheme (six blocks, two of them equal) in DuckDB, and faiss's multi-hash
index where it is installed, at the smallest size; both grow faster than linearly.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from nucleus_data.dedup.groups import group_equal
from nucleus_data.dedup.search import iterate_near_pairs
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.signals.hash import measure as hashes
from scripts.benchmark import Measure, measure, parser, publish

DISTANCE = 4
NEAR_SHARE, HOT_SHARE, HOT_CODES = 0.08, 0.005, 4
# Seconds and gigabytes, by the number of codes.
GOALS: dict[int, tuple[float | str, float | str]] = {10_000_000: (5, 4), 100_000_000: (50, 4)}


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        counts: Codes, each a row; the first is the peers' size.
        mutated: Codes made of real pictures' ones.
        rounds: How often each is run.
    """

    counts: tuple[int, ...] = (1_000_000, 10_000_000, 100_000_000)
    mutated: int = 10_000_000
    rounds: int = 3


QUICK = Sizes((200_000, 1_000_000), 1_000_000, 2)


def planted(count: int, seed: int = 0) -> NDArray[np.uint64]:
    """Uniform codes with near ones and hot ones among them."""
    rng = np.random.default_rng([seed, count])
    codes = rng.integers(0, 2**64, count, dtype=np.uint64)
    near, hot = int(count * NEAR_SHARE), int(count * HOT_SHARE)
    flips = np.zeros(near, np.uint64)
    for _ in range(DISTANCE):
        flips |= np.uint64(1) << rng.integers(0, 64, near, dtype=np.uint64)
    codes[:near] = codes[rng.integers(near, count, near)] ^ flips
    codes[near : near + hot] = rng.integers(0, HOT_CODES, hot).astype(np.uint64)
    return codes


def mutated(codes: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """Many codes with the bits of few: each half of one and half of another, and two bits off."""
    rng = np.random.default_rng([1, count])
    one, other = (codes[rng.integers(0, len(codes), count)] for _ in range(2))
    mask = rng.integers(0, 2**64, count, dtype=np.uint64)
    made = one & mask | other & ~mask
    for _ in range(2):
        made ^= np.uint64(1) << rng.integers(0, 64, count, dtype=np.uint64)
    return made


def of_pictures(folder: Path | None) -> NDArray[np.uint64]:
    """The pHashes of a folder's pictures; of synthetic ones without a folder."""
    if folder is None:
        from nucleus_data.world import render, scene
        from nucleus_data.world.files import encoded

        files = (encoded(render(scene(5, i, "full"), 256, 256), "JPEG", 90) for i in range(1500))
    else:
        files = (path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    found = []
    for data in files:
        try:
            found.append(hashes(open_picture(data), None)["phash"])
        except PixelError:
            continue
    return np.unique(np.array(found, np.uint64))


def child(count: int, source: str) -> None:
    """One search; prints its figures as JSON."""
    codes = planted(count) if source == "planted" else mutated(np.load(source), count)
    list(iterate_near_pairs(np.arange(5000, dtype=np.uint64) << np.uint64(40), 1))  # compiles
    group_equal(codes[:1000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    groups = group_equal(codes)
    grouped = time.perf_counter()
    pairs = sum(len(first) for first, *_ in iterate_near_pairs(groups.codes, DISTANCE))
    done = time.perf_counter()
    figures = {
        "group": grouped - start,
        "search": done - grouped,
        "pairs": pairs,
        "distinct": len(groups.codes),
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "before": before / 2**20,
    }
    print(json.dumps(figures))


def searched(count: int, source: str = "planted") -> dict[str, float]:
    """The figures of one search in a process of its own."""
    command = [sys.executable, __file__, "--child", str(count), source]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def duckdb_join(codes: NDArray[np.uint64]) -> tuple[float, int]:
    """Seconds and pairs of the same scheme as a join: 15 keys of two of six blocks."""
    edges = np.linspace(0, 64, DISTANCE + 3).astype(int)
    masks = [(1 << int(b)) - (1 << int(a)) for a, b in pairwise(edges)]
    tables = " UNION ALL ".join(
        f"SELECT {i} AS t, code & {masks[a] | masks[b]}::UBIGINT AS key, code FROM codes"
        for i, (a, b) in enumerate(combinations(range(len(masks)), 2))
    )
    connection = duckdb.connect()
    connection.register("codes", {"code": codes})
    start = time.perf_counter()
    (count,) = connection.execute(
        f"WITH k AS ({tables}) SELECT count(*) FROM (SELECT DISTINCT a.code, b.code FROM k a "
        "JOIN k b ON a.t = b.t AND a.key = b.key AND a.code < b.code "
        f"WHERE bit_count(xor(a.code, b.code)) <= {DISTANCE})"
    ).fetchone() or (0,)
    return time.perf_counter() - start, int(count)


def faiss_search(codes: NDArray[np.uint64]) -> tuple[float, int] | None:
    """Seconds and pairs of faiss's exact multi-hash index; None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    data = codes.view(np.uint8).reshape(-1, 8)
    start = time.perf_counter()
    index = faiss.IndexBinaryMultiHash(64, DISTANCE + 1, 64 // (DISTANCE + 1))
    index.nflip = 0
    index.add(data)
    limits, _, labels = index.range_search(data, DISTANCE + 1)
    seconds = time.perf_counter() - start
    owners = np.repeat(np.arange(len(codes)), np.diff(limits.astype(np.int64)))
    return seconds, int((labels > owners).sum())


def rows(sizes: Sizes, pictures: Path | None, scratch: Path) -> list[Measure]:
    """All measures."""
    found = []
    for count in sizes.counts:
        runs = [searched(count) for _ in range(sizes.rounds)]
        seconds, memory = GOALS.get(count, ("", ""))
        name = f"{count / 1e6:g} M codes"
        total = [run["group"] + run["search"] for run in runs]
        found += [
            measure(name, total, "s", f"<= {seconds}" if seconds else None),
            measure(f"{name}: grouping equal ones", [run["group"] for run in runs], "s"),
            measure(f"{name}: pairs found", [run["pairs"] for run in runs], ""),
            measure(
                f"{name}: largest memory",
                [run["gigabytes"] for run in runs],
                "GB",
                f"<= {memory}" if memory else None,
            ),
        ]
    np.save(scratch, of_pictures(pictures))
    runs = [searched(sizes.mutated, str(scratch)) for _ in range(sizes.rounds)]
    kind = "real" if pictures else "synthetic"
    name = f"{sizes.mutated / 1e6:g} M codes with the bits of {kind} pictures"
    found.append(measure(name, [run["group"] + run["search"] for run in runs], "s"))
    found.append(measure(f"{name}: pairs found", [run["pairs"] for run in runs], ""))

    codes = group_equal(planted(sizes.counts[0])).codes
    ours = [run["search"] for run in [searched(sizes.counts[0]) for _ in range(sizes.rounds)]]
    for peer, run in (("DuckDB join", duckdb_join), ("faiss IndexBinaryMultiHash", faiss_search)):
        made = run(codes)
        if made is None:
            continue
        what = f"{len(codes) / 1e6:.3g} M codes, {peer}: {made[1]:,} pairs"
        found.append(measure(what, [made[0] / one for one in ours], "x ours", against=peer))
    return found


def main() -> None:
    """The command."""
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), sys.argv[3])
        return
    options: argparse.ArgumentParser = parser(__doc__ or "")
    options.add_argument("--pictures", type=Path, help="folder of real pictures")
    args = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as folder:
        sizes = QUICK if args.quick else Sizes()
        publish(rows(sizes, args.pictures, Path(folder, "codes.npy")), args.json)


if __name__ == "__main__":
    main()
