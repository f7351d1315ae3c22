"""Records equal in all that is compared, grouped so that one of them can stand for the rest."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Codes, Indices
from nucleus_data.stages.dedup.groups import Groups, group_equal

# Pairs expanded at a time: 8 MB of 256-bit hashes.
SLICE = 1 << 18
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: odd, its bits well mixed


def runs_of(keys: Sequence[Codes]) -> tuple[Indices, Indices]:
    """Sorts records so that those with equal keys stand together.

    Args:
        keys: What is compared, uint64[N] each; records are equal if all their keys are.

    Returns:
        An order of the N records that keeps equal ones as they were, int64[N], and where each run
        of equal ones begins, int64[R].
    """
    mixed = np.zeros(len(keys[0]), np.uint64)
    for key in keys:
        mixed = (mixed ^ key) * _FACTOR
        mixed ^= mixed >> np.uint64(29)
    groups = group_equal(mixed)
    order, starts = groups.order.astype(np.int64), groups.starts[:-1].astype(np.int64)
    fresh = np.zeros(len(order), bool)
    fresh[starts] = True
    if any(_changes(key[order], fresh) for key in keys):  # two keys with one mixture: rare
        order = np.lexsort(keys)
        fresh[:1] = True
        fresh[1:] = np.logical_or.reduce([key[order[1:]] != key[order[:-1]] for key in keys])
        starts = np.flatnonzero(fresh)
    return order, starts


def _changes(key: Codes, fresh: NDArray[np.bool_]) -> bool:
    """Whether a key changes anywhere but at the beginning of a run."""
    return bool((key[1:] != key[:-1])[~fresh[1:]].any())


def first_of_runs(
    order: Indices, starts: Indices, preferred: NDArray[np.bool_] | None = None
) -> Indices:
    """For each record, the first of its run, among the preferred ones if it has any: int64[N].

    Args:
        order: The records, equal ones side by side, int64[N] (from `runs_of`).
        starts: Where each run of equal ones begins in `order`, int64[R].
        preferred: Records that may stand for their run, bool[N]; all by default.
    """
    count = len(order)
    if not count:
        return order
    rank = order if preferred is None else np.where(preferred[order], order, order + count)
    best = np.minimum.reduceat(rank, starts) % count
    first = np.empty_like(order)
    first[order] = np.repeat(best, np.diff(np.append(starts, count)))
    return first


class Members:
    """The members of groups of equal codes.

    Args:
        groups: The groups.
    """

    def __init__(self, groups: Groups) -> None:
        self.by_group = groups.order.astype(np.int64)
        self.starts = groups.starts[:-1].astype(np.int64)
        self.counts = np.diff(groups.starts.astype(np.int64))

    def of_pairs(self, one: Indices, other: Indices) -> Iterator[tuple[Indices, Indices, Indices]]:
        """Expands pairs of groups into pairs of members, in bounded memory for any size of group.

        A group paired with itself gives each pair of different members once.

        Args:
            one: Groups, int64[P].
            other: Groups, int64[P].

        Yields:
            Which of the P pairs, and the two members: three int64 arrays of one length, at most
            `SLICE`.
        """
        across = self.counts[other]
        sizes = self.counts[one] * across
        ends = np.cumsum(sizes)
        total = int(sizes.sum())
        for start in range(0, total, SLICE):
            place = np.arange(start, min(start + SLICE, total))
            pair = np.searchsorted(ends, place, side="right")
            step = place - (ends - sizes)[pair]
            left = self.starts[one[pair]] + step // across[pair]
            right = self.starts[other[pair]] + step % across[pair]
            # In a group with itself each pair comes twice, and each member with itself.
            once = (one[pair] != other[pair]) | (left < right)
            yield pair[once], self.by_group[left[once]], self.by_group[right[once]]
