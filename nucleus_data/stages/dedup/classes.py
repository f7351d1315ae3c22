"""Records equal in all that is compared, grouped so that one of them can stand for the rest."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Codes, Indices
from nucleus_data.stages.dedup.confirm_kernels import near_members
from nucleus_data.stages.dedup.groups import Groups, group_equal

# Near pairs expanded at a time: 6 MB of places.
SLICE = 1 << 18
CANDIDATES = 1 << 26  # compared in one call, which can't be interrupted: a tenth of a second
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: odd, its bits well mixed


class Near(NamedTuple):
    """Pairs of members whose 256-bit hashes are near, K of them.

    Attributes:
        pair: Which of the pairs of groups each is of, int64[K].
        one: A member, int64[K].
        other: The other, int64[K].
        distance256: Distance of their hashes, int16[K].
        candidates: How many pairs were compared.
    """

    pair: Indices
    one: Indices
    other: Indices
    distance256: NDArray[np.int16]
    candidates: int


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
        hash256: The 256-bit hash of each member, uint64[N, 4].
    """

    def __init__(self, groups: Groups, hash256: Codes) -> None:
        self.by_group = groups.order.astype(np.int64)
        self.starts = groups.starts.astype(np.int64)
        self.hashes = np.ascontiguousarray(hash256[self.by_group])

    def of_pairs(self, one: Indices, other: Indices, limit: int) -> Iterator[Near]:
        """Expands pairs of groups into near pairs of members, in bounded memory for any group.

        A group paired with itself gives each pair of different members once.

        Args:
            one: Groups, int64[P].
            other: Groups, int64[P].
            limit: Largest distance of two 256-bit hashes that is near.

        Yields:
            At most `SLICE` near pairs, of about as many candidates.
        """
        at = np.array([0, -1, -1])
        out, apart = np.empty((SLICE, 3), np.int64), np.empty(SLICE, np.int16)
        while at[0] < len(one):
            found, candidates = near_members(
                self.hashes, self.starts, one, other, limit, CANDIDATES, at, out, apart
            )
            pair, left, right = out[:found].T
            members = self.by_group[left], self.by_group[right]
            yield Near(pair.copy(), *members, apart[:found].copy(), candidates)
