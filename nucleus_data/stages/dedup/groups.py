"""Groups equal codes, and partitions codes by some of their bits, by parallel radix sorts.

numpy's sort takes several times as long on some processors.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.dedup import radix_kernels
from nucleus_data.stages.dedup.codes import Codes, Indices

TOP_BITS = 12
CHUNK = 1 << 22  # codes at a time, in a step that would need as much memory as all codes


def cores() -> int:
    """Returns the number of CPUs to use: `OMP_NUM_THREADS`, which Ray sets, or all available."""
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Groups:
    """Groups of equal codes.

    Attributes:
        codes: The distinct codes, ascending, uint64[U].
        order: Indices of all N codes, sorted by code and then by index (uint32 or int64).
        starts: Where each group begins in `order`, and N: U + 1 numbers of the same type.
    """

    codes: Codes
    order: NDArray[np.uint32] | Indices
    starts: NDArray[np.uint32] | Indices


def group_equal(codes: Codes, threads: int | None = None) -> Groups:
    """Sorts codes and groups equal ones.

    Args:
        codes: uint64[N].
        threads: Number of threads; all cores by default.

    Returns:
        The groups, which do not depend on the number of threads.
    """
    with ThreadPoolExecutor(threads or cores()) as pool:
        kept, order = sort_codes(codes, pool)
    fresh = np.empty(len(kept), bool)
    fresh[:1] = True
    np.not_equal(kept[1:], kept[:-1], out=fresh[1:])
    distinct = int(np.count_nonzero(fresh))
    starts = np.empty(distinct + 1, order.dtype)
    filled = 0
    for first in range(0, len(kept), CHUNK):
        places = np.flatnonzero(fresh[first : first + CHUNK])
        starts[filled : filled + len(places)] = places + first
        filled += len(places)
    starts[-1] = len(kept)
    return Groups(kept if distinct == len(kept) else kept[fresh], order, starts)


def sort_codes(
    codes: Codes, pool: ThreadPoolExecutor
) -> tuple[Codes, NDArray[np.uint32] | Indices]:
    """Sorts codes: partitions them by their highest bits, then sorts each part.

    Args:
        codes: uint64[N].
        pool: Threads that sort.

    Returns:
        The codes in ascending order, and their original indices; equal codes stay in order.
    """
    count = len(codes)
    # At least 128 codes per part, so that the overhead of a part is negligible.
    bits = min(TOP_BITS, max(1, count.bit_length() - 8))
    shift = np.uint64(64 - bits)
    parts = pieces(count, pool)
    counts = np.zeros((len(parts), 1 << bits), np.int64)
    list(
        pool.map(
            lambda k: radix_kernels.count_tops(codes[slice(*parts[k])], shift, counts[k]),
            range(len(parts)),
        )
    )
    starts, places = offsets(counts)
    kind: Any = np.uint32 if count < 1 << 32 else np.int64
    out, order = np.empty(count, np.uint64), np.empty(count, kind)
    list(
        pool.map(
            lambda k: radix_kernels.scatter_with_places(
                codes[slice(*parts[k])], parts[k][0], shift, places[k], out, order
            ),
            range(len(parts)),
        )
    )

    def sort(part: int) -> None:
        low, high = starts[part], starts[part + 1]
        size = int(high - low)
        if size > 1:
            spare = np.empty(size, np.uint64), np.empty(size, kind)
            radix_kernels.sort_part(out[low:high], order[low:high], 64 - bits, *spare)

    list(pool.map(sort, range(1 << bits)))
    return out, order


def pieces(count: int, pool: ThreadPoolExecutor) -> list[tuple[int, int]]:
    """Returns the start and end of about equal pieces of `count` items, one per thread."""
    ends = np.linspace(0, count, pool._max_workers + 1).astype(np.int64).tolist()
    return list(pairwise(ends))


def offsets(counts: Indices) -> tuple[Indices, Indices]:
    """Computes where to write in a counting sort.

    Args:
        counts: Number of items of each value in each piece, int64[P, V].

    Returns:
        Where each value begins, and the end: int64[V + 1]; and where each piece writes its items of
        each value: int64[P, V].
    """
    totals = counts.sum(0)
    starts = np.concatenate([[0], np.cumsum(totals)])
    return starts, starts[:-1] + np.cumsum(counts, 0) - counts
