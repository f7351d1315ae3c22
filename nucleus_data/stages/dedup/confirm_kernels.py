"""Inner loop of the second opinion on pairs of groups of pictures; numba.

Very many different pictures may share a 64-bit hash (nearly blank ones do), so that all their pairs
are candidates. All but few of these are told apart by the 256-bit hash, which this compares before
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
    """Pairs of members of pairs of groups whose 256-bit hashes are near.

    A group paired with itself gives each pair of different members once.

    Args:
        hashes: Members' 256-bit hashes, by group, uint64[N, 4].
        starts: Where each group begins in `hashes`, and N: int64[G + 1].
        one: Groups, int64[P].
        other: Groups, int64[P].
        limit: Largest distance that is near.
        most: After about so many candidates the call ends.
        at: Where to go on: the pair of groups, and the places of the two members in `hashes`; the
            place of the first is -1 at a pair's beginning. It is left where the next call goes on.
        out: Gets, for each near pair, its pair of groups and the places of its members, (room, 3).
        apart: Gets their distances, int16[room].

    Returns:
        How many near pairs were written, and how many candidates there were.
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
