"""Records equal in all that is compared, grouped so that one of them can stand for the rest.

Arrays have one place for each record, in the order of (shard, row). N is the number of records.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nucleus_data.dedup.codes import Indices

# Pairs expanded at a time: 8 MB of 256-bit hashes.
SLICE = 1 << 18


def first_of_bytes(sha256: Indices, measured: NDArray[np.bool_]) -> Indices:
    """For each record, the first with the same bytes; a measured one if there is any.

    Args:
        sha256: A number for each distinct content, int64[N].
        measured: Whether the record has hashes and a size, bool[N].

    Returns:
        Places, int64[N]; a record that stands for its bytes has its own.
    """
    return _first_in_runs(np.lexsort((~measured, sha256)), [sha256])


def first_of_class(
    phash: NDArray[np.uint64], hash256: NDArray[np.uint64], size: Indices
) -> Indices:
    """For each record, the first with equal hashes and an equal aspect ratio.

    Args:
        phash: uint64[N].
        hash256: uint64[N, 4].
        size: Width and height, 1 or more, int64[N, 2].

    Returns:
        Places, int64[N]; a record that stands for its class has its own.
    """
    shape = size // np.gcd(size[:, 0], size[:, 1])[:, None]
    keys = [phash, *hash256.T, *shape.T]
    return _first_in_runs(np.lexsort(keys), keys)


def _first_in_runs(order: Indices, keys: Sequence[NDArray[np.generic]]) -> Indices:
    """For each place, the first of its run of equal keys; `order` is a stable sort by the keys."""
    starts = np.zeros(len(order), dtype=bool)
    starts[:1] = True
    for key in keys:
        in_order = key[order]
        starts[1:] |= in_order[1:] != in_order[:-1]
    first = np.empty_like(order)
    first[order] = order[starts][np.cumsum(starts) - 1]
    return first


class Members:
    """The members of numbered groups.

    Args:
        group: Each member's group, 0 to G - 1, int64[M].
    """

    def __init__(self, group: Indices) -> None:
        self.by_group = np.argsort(group, kind="stable")
        self.counts = np.bincount(group)
        self.starts = np.cumsum(self.counts) - self.counts

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
            once = (one[pair] != other[pair]) | (left < right)
            yield pair[once], self.by_group[left[once]], self.by_group[right[once]]
