"""A numba kernel that compares the 256-bit hashes of candidate pairs.

Very many different pictures can share a 64-bit hash (nearly blank ones do), so that all their pairs
are candidates. Nearly all of these differ in the 256-bit hash, so the kernel compares it before
anything is copied.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Codes, Indices
from nucleus_data.stages.dedup.search_kernels import popcount_one


@njit(nogil=True, cache=True)
def near_members(
    hashes: Codes,
    starts: Indices,
    one: Indices,
    other: Indices,
    limit: int,
    most: int,
    at: Indices,
    out: Indices,
    apart: NDArray[np.int16],
) -> tuple[int, int]:
    """Finds the pairs of members, of pairs of groups, whose 256-bit hashes are near.

    A group paired with itself gives each pair of different members once. The call ends when `out`
    is full or enough candidates were compared; the next call continues from `at`.

    Args:
        hashes: The members' 256-bit hashes, ordered by group, uint64[N, 4].
        starts: Where each group begins in `hashes`, and N: int64[G + 1].
        one: The first group of each pair, int64[P].
        other: The second group of each pair, int64[P].
        limit: Largest Hamming distance that is near.
        most: Number of candidates after which the call ends.
        at: Where to continue, int64[3]: the index of the pair of groups, and those of the two
            members in `hashes`, where the first one is -1 at the start of a pair. It is updated.
        out: Receives for each near pair the index of its pair of groups, and those of its members
            in `hashes`, int64[room, 3].
        apart: Receives their distances, int16[room].

    Returns:
        The number of near pairs written, and the number of candidates compared.
    """
    found, seen = 0, 0
    pair, left, right = at[0], at[1], at[2]
    while pair < len(one):
        a, b = one[pair], other[pair]
        if left < 0:
            left = starts[a]
            right = left + 1 if a == b else starts[b]
        while left < starts[a + 1]:
            while right < starts[b + 1]:
                if found == len(out) or seen >= most:
                    at[0], at[1], at[2] = pair, left, right
                    return found, seen
                distance = np.int64(0)
                for word in range(4):
                    distance += np.int64(popcount_one(hashes[left, word] ^ hashes[right, word]))
                if distance <= limit:
                    out[found, 0], out[found, 1], out[found, 2] = pair, left, right
                    apart[found] = distance
                    found += 1
                seen += 1
                right += 1
            left += 1
            right = left + 1 if a == b else starts[b]
        pair, left = pair + 1, -1
    at[0], at[1], at[2] = pair, -1, -1
    return found, seen
