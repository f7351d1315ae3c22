"""Measures the search for all pairs of near 64-bit codes: its time and memory.

    python scripts/bench_dedup.py                          # some ten minutes on two idle cores
    python scripts/bench_dedup.py --quick --json dedup.json
    python scripts/bench_dedup.py --pictures stamps        # codes with the bits of real pictures
    python scripts/bench_dedup.py --out-of-core 1000       # a thousand million codes, and no more

Codes are uniform, except for 8 % that are 1 to 4 bits from another code, and 0.5 % that are one of
four frequent codes. Each size runs in a process of its own, whose peak memory is measured. The
peers, at the smallest size, are a join of the same exact scheme (six blocks, two of them equal) in
DuckDB, and faiss's multi-hash index if it is installed; both grow faster than linearly.

Out of core, the codes are partitioned into files by one block after the other, and the files are
searched by two processes. The disk holds the codes once (8 GB for a thousand million). This is the
search of `nucleus dedup` on bare codes: no 256-bit hashes are read.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import combinations, pairwise
from multiprocessing import get_context
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from nucleus_data.corpus.shuffle import read_rows, spread, write_rows
from nucleus_data.corpus.store import Store
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.signals.hash import measure as hashes
from nucleus_data.stages.dedup.blocks import bit_shares
from nucleus_data.stages.dedup.groups import group_equal
from nucleus_data.stages.dedup.search import Layout, iterate_near_pairs, pairs_of_block
from scripts.benchmark import Measure, measure, parser, publish
from scripts.memory import peak_memory

DISTANCE = 4
PARTS = 64  # number of partitions out of core
NEAR_SHARE, HOT_SHARE, HOT_CODES = 0.08, 0.005, 4
# Number of codes -> maximum seconds and gigabytes.
GOALS: dict[int, tuple[float | str, float | str]] = {10_000_000: (5, 4), 100_000_000: (50, 4)}


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        counts: Numbers of codes, one row each; the first is also the peers' size.
        mutated: Number of codes that are derived from those of pictures.
        rounds: Number of rounds.
    """

    counts: tuple[int, ...] = (1_000_000, 10_000_000, 100_000_000)
    mutated: int = 10_000_000
    rounds: int = 3


QUICK = Sizes((200_000, 1_000_000), 1_000_000, 2)


def planted(count: int, seed: int = 0) -> NDArray[np.uint64]:
    """Makes uniform codes, with near codes and frequent codes among them."""
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
    """Makes many codes from few: each mixes the bits of two, and flips two bits."""
    rng = np.random.default_rng([1, count])
    first, second = (codes[rng.integers(0, len(codes), count)] for _ in range(2))
    mask = rng.integers(0, 2**64, count, dtype=np.uint64)
    made = first & mask | second & ~mask
    for _ in range(2):
        made ^= np.uint64(1) << rng.integers(0, 64, count, dtype=np.uint64)
    return made


def of_pictures(folder: Path | None) -> NDArray[np.uint64]:
    """Returns the pHashes of a folder's pictures; without a folder, those of synthetic ones."""
    if folder is None:
        from nucleus_data.world import render, scene
        from nucleus_data.world.files import encoded

        files = (encoded(render(scene(5, i, "full"), 256, 256), "JPEG", 90) for i in range(1500))
    else:
        files = (path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    codes = []
    for data in files:
        try:
            codes.append(hashes(open_picture(data), None)["phash"])
        except PixelError:
            continue
    return np.unique(np.array(codes, np.uint64))


def child(count: int, source: str) -> None:
    """Runs one search, and prints its figures as JSON."""
    codes = planted(count) if source == "planted" else mutated(np.load(source), count)
    list(iterate_near_pairs(np.arange(5000, dtype=np.uint64) << np.uint64(40), 1))  # compiles
    group_equal(codes[:1000])
    before = peak_memory()
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
        "gigabytes": peak_memory() / 2**30,
        "before": before / 2**30,
    }
    print(json.dumps(figures))


def searched(count: int, source: str = "planted") -> dict[str, float]:
    """Runs one search in a process of its own, and returns its figures."""
    command = [sys.executable, __file__, "--child", str(count), source]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def deal(chunk: int, size: int, layout: Layout, block: int, folder: str) -> None:
    """Writes a chunk of the codes, partitioned by their values of a block."""
    codes = planted(size, chunk)
    reader = spread(layout.values(codes, block).astype(np.uint64), PARTS)
    write_rows(Store(folder), f"{block}/{chunk:06d}", codes, reader, PARTS)


def search_part(part: int, layout: Layout, block: int, folder: str) -> tuple[int, int]:
    """Counts the pairs of a block in one partition; also returns this process's peak memory."""
    store = Store(folder)
    names = [f"{block}/{name}" for name in store.list(str(block))]
    groups = group_equal(read_rows(store, names, part, PARTS, np.dtype("<u8")), threads=1)
    pairs = sum(len(one) for one, *_ in pairs_of_block(groups.codes, layout, block, threads=1))
    return pairs, peak_memory()


def out_of_core(millions: int) -> list[Measure]:
    """Measures a search on files by two processes."""
    chunks, size = max(1, millions // 10), min(millions, 10) * 1_000_000
    layout = Layout.chosen(bit_shares(planted(size)), chunks * size, DISTANCE)
    total, memory = 0, [0, 0]
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="bench-dedup-") as folder,
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
    ):
        for block in layout.first_blocks:
            dealt = [pool.submit(deal, c, size, layout, block, folder) for c in range(chunks)]
            for future in dealt:
                future.result()
            tasks = [pool.submit(search_part, p, layout, block, folder) for p in range(PARTS)]
            for task in tasks:
                pairs, largest = task.result()
                total += pairs
                memory = sorted([*memory, largest])[-2:]
            shutil.rmtree(Path(folder, str(block)))
            minutes = (time.perf_counter() - start) / 60
            print(f"block {block}: {total:,} pairs, {minutes:.1f} min", file=sys.stderr, flush=True)
    name = f"{chunks * size / 1e6:g} M codes out of core, two processes"
    return [
        measure(name, [minutes], "min", "<= 45" if millions == 1000 else None),
        measure(f"{name}: pairs found", [total], ""),
        measure(f"{name}: largest memory of both", [sum(memory) / 2**30], "GB", "<= 10"),
    ]


def duckdb_join(codes: NDArray[np.uint64]) -> tuple[float, int]:
    """Returns seconds and pairs of the same scheme as a join: 15 keys of two of six blocks."""
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
    """Returns seconds and pairs of faiss's exact multi-hash index; None if it is not installed."""
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
    """Measures everything, and returns the rows of the table."""
    measures = []
    for count in sizes.counts:
        runs = [searched(count) for _ in range(sizes.rounds)]
        seconds, memory = GOALS.get(count, ("", ""))
        name = f"{count / 1e6:g} M codes"
        total = [run["group"] + run["search"] for run in runs]
        measures += [
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
    measures.append(measure(name, [run["group"] + run["search"] for run in runs], "s"))
    measures.append(measure(f"{name}: pairs found", [run["pairs"] for run in runs], ""))

    codes = group_equal(planted(sizes.counts[0])).codes
    ours = [run["search"] for run in [searched(sizes.counts[0]) for _ in range(sizes.rounds)]]
    for peer, run in (("DuckDB join", duckdb_join), ("faiss IndexBinaryMultiHash", faiss_search)):
        made = run(codes)
        if made is None:
            continue
        what = f"{len(codes) / 1e6:.3g} M codes, {peer}: {made[1]:,} pairs"
        measures.append(measure(what, [made[0] / one for one in ours], "x ours", against=peer))
    return measures


def main() -> None:
    """Runs the command."""
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), sys.argv[3])
        return
    options: argparse.ArgumentParser = parser(__doc__ or "")
    options.add_argument("--pictures", type=Path, help="folder of real pictures")
    options.add_argument("--out-of-core", type=int, metavar="MILLIONS", help="this search alone")
    args = options.parse_args()
    if args.out_of_core:
        publish(out_of_core(args.out_of_core), args.json)
        return
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as folder:
        sizes = QUICK if args.quick else Sizes()
        publish(rows(sizes, args.pictures, Path(folder, "codes.npy")), args.json)


if __name__ == "__main__":
    main()
