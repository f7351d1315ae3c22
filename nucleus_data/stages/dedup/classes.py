"""Groups records whose compared values are all equal, so that one can represent the others."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Codes, Indices
from nucleus_data.stages.dedup.confirm_kernels import near_members
from nucleus_data.stages.dedup.groups import Groups, group_equal

# Near pairs that are expanded at a time: 6 MB of indices.
SLICE = 1 << 18
# Candidates compared in one call of a kernel, which can't be interrupted: a tenth of a second.
CANDIDATES = 1 << 26
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: odd, with well mixed bits


class Near(NamedTuple):
    """K pairs of members whose 256-bit hashes are near.

    Attributes:
        pair: Index of the pair of groups that each belongs to, int64[K].
        one: The first member, int64[K].
        other: The second member, int64[K].
        distance256: Hamming distance of their 256-bit hashes, int16[K].
        candidates: How many pairs were compared to find these.
    """

    pair: Indices
    one: Indices
    other: Indices
    distance256: NDArray[np.int16]
    candidates: int


def runs_of(keys: Sequence[Codes]) -> tuple[Indices, Indices]:
    """Sorts records so that those with equal keys are adjacent.

    Args:
        keys: The compared columns, uint64[N] each; records are equal if all their keys are.

    Returns:
        A permutation of the N records in which equal ones keep their order, int64[N], and where
        each run of equal records begins, int64[R].
    """
    mixed = np.zeros(len(keys[0]), np.uint64)
    for key in keys:
        mixed = (mixed ^ key) * _FACTOR
        mixed ^= mixed >> np.uint64(29)
    groups = group_equal(mixed)
    order, starts = groups.order.astype(np.int64), groups.starts[:-1].astype(np.int64)
    fresh = np.zeros(len(order), bool)
    fresh[starts] = True
    # Rarely, two different records have the same mixed key; then the keys themselves are sorted.
    if any(_changes(key[order], fresh) for key in keys):
        order = np.lexsort(keys)
        fresh[:1] = True
        fresh[1:] = np.logical_or.reduce([key[order[1:]] != key[order[:-1]] for key in keys])
        starts = np.flatnonzero(fresh)
    return order, starts


def _changes(key: Codes, fresh: NDArray[np.bool_]) -> bool:
    """Returns whether a key changes within a run."""
    return bool((key[1:] != key[:-1])[~fresh[1:]].any())


def first_of_runs(
    order: Indices, starts: Indices, preferred: NDArray[np.bool_] | None = None
) -> Indices:
    """Returns for each record the first of its run, or the first preferred one if there is any.

    Args:
        order: The records with equal ones adjacent, int64[N] (from `runs_of`).
        starts: Where each run of equal records begins in `order`, int64[R].
        preferred: Records that represent their run if possible, bool[N]; all by default.

    Returns:
        int64[N].
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
        hash256: The 256-bit hash of each member, uint64[N, 4].
    """

    def __init__(self, groups: Groups, hash256: Codes) -> None:
        self.by_group = groups.order.astype(np.int64)
        self.starts = groups.starts.astype(np.int64)
        self.hashes = np.ascontiguousarray(hash256[self.by_group])

    def of_pairs(self, one: Indices, other: Indices, limit: int) -> Iterator[Near]:
        """Expands pairs of groups into near pairs of members; memory is bounded for any group size.

        A group paired with itself gives each pair of different members once.

        Args:
            one: The first group of each pair, int64[P].
            other: The second group of each pair, int64[P].
            limit: Largest Hamming distance of two 256-bit hashes that is near.

        Yields:
            At most `SLICE` near pairs, from about `CANDIDATES` candidates at most.
        """
        at = np.array([0, -1, -1])
        out, apart = np.empty((SLICE, 3), np.int64), np.empty(SLICE, np.int16)
        while at[0] < len(one):
            count, candidates = near_members(
                self.hashes, self.starts, one, other, limit, CANDIDATES, at, out, apart
            )
            pair, left, right = out[:count].T
            members = self.by_group[left], self.by_group[right]
            yield Near(pair.copy(), *members, apart[:count].copy(), candidates)
