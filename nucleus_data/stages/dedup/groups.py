"""Equal codes grouped, and codes in parts by some of their bits: sorting, in parallel.

numpy's sort takes several times as long on some processors; these are radix sorts, part by part.
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
CHUNK = 1 << 22  # of what would take as much memory as the codes


def cores() -> int:
    """Processors that this process may use: `OMP_NUM_THREADS`, which Ray sets for its workers."""
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Groups:
    """Equal codes as one.

    Attributes:
        codes: The distinct ones, rising, uint64[U].
        order: Places of all N codes, sorted by code and then by place (uint32 or int64).
        starts: Where each group begins in `order`, and N: U + 1 numbers of the same type.
    """

    codes: Codes
    order: NDArray[np.uint32] | Indices
    starts: NDArray[np.uint32] | Indices


def group_equal(codes: Codes, threads: int | None = None) -> Groups:
    """Sorts codes and groups equal ones.

    Args:
        codes: uint64[N].
        threads: How many; all cores by default.

    Returns:
        The groups; the same whatever the threads.
    """
    with ThreadPoolExecutor(threads or cores()) as pool:
        kept, order = sort_codes(codes, pool)
    fresh = np.empty(len(kept), bool)
    fresh[:1] = True
    np.not_equal(kept[1:], kept[:-1], out=fresh[1:])
    distinct = int(np.count_nonzero(fresh))
    starts = np.empty(distinct + 1, order.dtype)
    found = 0
    for first in range(0, len(kept), CHUNK):
        places = np.flatnonzero(fresh[first : first + CHUNK])
        starts[found : found + len(places)] = places + first
        found += len(places)
    starts[-1] = len(kept)
    return Groups(kept if distinct == len(kept) else kept[fresh], order, starts)


def sort_codes(
    codes: Codes, pool: ThreadPoolExecutor
) -> tuple[Codes, NDArray[np.uint32] | Indices]:
    """Rising codes and their places: partitioned by the highest bits, then sorted part by part."""
    count = len(codes)
    # At least 128 codes a part, so that what each part costs by itself does not count.
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
    """Begin and end of about equal pieces, one a thread."""
    ends = np.linspace(0, count, pool._max_workers + 1).astype(np.int64).tolist()
    return list(pairwise(ends))


def offsets(counts: Indices) -> tuple[Indices, Indices]:
    """Of counts (pieces, values): where each value begins, and where each piece writes its own."""
    totals = counts.sum(0)
    starts = np.concatenate([[0], np.cumsum(totals)])
    return starts, starts[:-1] + np.cumsum(counts, 0) - counts
