"""All pairs of 64-bit codes within a Hamming distance: exact, in memory, by multi-index hashing.

Cut the 64 bits into `distance + 2` blocks. Codes that differ in at most `distance` bits differ in
at most `distance` blocks, so at least two blocks are equal. One table for each choice of two blocks
(15 for distance 4), its key those two blocks (about 21 bits), therefore meets every pair in some
table. (Norouzi, Punjani, Fleet: Fast Exact Search in Hamming Space with Multi-Index Hashing, 2014;
with two equal blocks instead of one, the keys are longer and the candidates fewer.)

Three things keep it cheap:

- Equal codes are grouped before the search (`group_equal`); among distinct codes no group of equals
  exists.
- A key shared by very many codes is refined: its members are searched again, by the bits that
  vary among them.
- Candidates are made a slice at a time, so memory grows with the codes and the pairs found, not
  with the candidates.

On a laptop: `python -c "import numpy as np; from nucleus_data.dedup.search import near_pairs;
print(near_pairs(np.arange(100, dtype=np.uint64), 1))"`
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
Indices = NDArray[np.int64]

MAX_DISTANCE = 8

# Positions in one slice of candidates: 2 MB an array, which stays in a core's cache.
SLICE = 1 << 18
# Codes with one key up to which trying all pairs is cheaper than a refined search.
HOT = 1024
# Codes looked at to learn which bits tell them apart.
SAMPLE = 4096

_SIXTEEN_BITS = np.array([value.bit_count() for value in range(1 << 16)], dtype=np.uint8)


def _popcount_by_table(values: Codes) -> NDArray[np.uint8]:
    """What `np.bitwise_count` does, for numpy before 2.0."""
    halves = np.ascontiguousarray(values).view(np.uint16).reshape(*values.shape, 4)
    return _SIXTEEN_BITS[halves].sum(axis=-1, dtype=np.uint8)


def popcount(values: Codes) -> NDArray[np.uint8]:
    """The number of one bits in each value.

    Args:
        values: uint64, any shape.

    Returns:
        uint8 of the same shape, 0 to 64.
    """
    if hasattr(np, "bitwise_count"):
        counts: NDArray[np.uint8] = np.bitwise_count(values)
        return counts
    return _popcount_by_table(values)


def group_equal(codes: Codes) -> tuple[Codes, Indices]:
    """Groups equal codes.

    Args:
        codes: uint64[N].

    Returns:
        The distinct codes in rising order, uint64[U], and for each of the N the place of its code
        among them, int64[N].
    """
    distinct, inverse = np.unique(codes, return_inverse=True)
    return distinct, inverse.reshape(-1).astype(np.int64, copy=False)


def near_pairs(codes: Codes, distance: int = 4) -> tuple[Indices, Indices, NDArray[np.int8]]:
    """All pairs of distinct codes that differ in at most `distance` bits.

    Args:
        codes: uint64[N], no two equal (see `group_equal`).
        distance: Largest Hamming distance, 0 to 8.

    Returns:
        Three arrays of one length: the indices `first < second` (int64, each pair once, sorted by
        first, then second) and the pair's distance (int8, 1 to `distance`).

    Raises:
        ValueError: The codes are not distinct uint64 of one dimension, or the distance is out of
            range.
    """
    parts = list(iterate_near_pairs(codes, distance))
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8)
    first, second, apart = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((second, first))
    return first[order], second[order], apart[order]


def iterate_near_pairs(
    codes: Codes, distance: int = 4
) -> Iterator[tuple[Indices, Indices, NDArray[np.int8]]]:
    """The pairs of `near_pairs`, in pieces of at most `SLICE` and in no promised order."""
    if codes.ndim != 1 or codes.dtype != np.uint64:
        raise ValueError(f"codes must be uint64[N], got {codes.dtype} of shape {codes.shape}")
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance must be 0 to {MAX_DISTANCE}, got {distance}")
    if len(codes) < 2:
        return
    in_order = np.sort(codes)
    if (in_order[1:] == in_order[:-1]).any():
        raise ValueError(
            "codes must be distinct, got equal ones: group them first with group_equal"
        )
    for one, other in _search(codes, distance):
        apart = popcount(codes[one] ^ codes[other]).astype(np.int8)
        yield np.minimum(one, other), np.maximum(one, other), apart


def _search(codes: Codes, distance: int) -> Iterator[tuple[Indices, Indices]]:
    """Index pairs of near codes, each pair once."""
    masks = _block_masks(codes, distance + 2)
    for i, j in combinations(range(len(masks)), 2):
        # A pair may share more than two blocks. It belongs to the table of its first two: no other
        # block before the second of them is equal.
        unequal = [masks[k] for k in range(j) if k != i]
        for one, other in _same_key(codes, masks[i] | masks[j], distance):
            difference = codes[one] ^ codes[other]
            mine = popcount(difference) <= distance
            for mask in unequal:
                mine &= (difference & mask) != 0
            if mine.any():
                yield one[mine], other[mine]


def _block_masks(codes: Codes, blocks: int) -> list[np.uint64]:
    """Deals the bits that vary among the codes into blocks, as masks.

    Bits that are set in nearly half of the codes tell them apart best. They are dealt one to each
    block in turn, then the next best, so that no block has only bits that hardly vary: its keys
    would be shared by very many. Which bit goes where changes the time alone, so a sample will do.
    """
    varying = int(np.bitwise_or.reduce(codes ^ codes[0]))
    bits = [bit for bit in range(64) if varying >> bit & 1]
    sample = codes[:: max(1, len(codes) // SAMPLE)]
    set_share = np.array([(sample >> np.uint64(bit) & np.uint64(1)).mean() for bit in bits])
    best_first = np.argsort(np.abs(set_share - 0.5), kind="stable")
    return [
        np.uint64(sum(1 << bits[place] for place in best_first[block::blocks]))
        for block in range(blocks)
    ]


def _same_key(codes: Codes, key: np.uint64, distance: int) -> Iterator[tuple[Indices, Indices]]:
    """Index pairs of codes that agree in the bits `key`: at least all that are near."""
    # A search refines a group only by bits that vary in it, and more than 2^(distance + 1) distinct
    # codes vary in at least distance + 2 bits, one for each block. So each refinement has fewer
    # bits left, and it ends.
    limit = max(HOT, 1 << distance + 1)
    keys = codes & key
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    ends = np.append(np.flatnonzero(keys[1:] != keys[:-1]) + 1, len(keys))
    sizes = np.diff(ends, prepend=0)
    end = np.repeat(ends, sizes)
    for group in np.flatnonzero(sizes > limit):
        whole = slice(ends[group] - sizes[group], ends[group])
        members = order[whole]
        for one, other in _search(codes[members], distance):
            yield members[one], members[other]
        end[whole] = 0
    for place, later in _pairs_in_groups(end):
        yield order[place], order[later]


def _pairs_in_groups(end: Indices) -> Iterator[tuple[Indices, Indices]]:
    """All pairs of places in one group, a slice at a time; `end` is that of each place's group."""
    multiple = np.flatnonzero(end > np.arange(len(end)) + 1)
    for start in range(0, len(multiple), SLICE):
        place = multiple[start : start + SLICE]
        later = place + 1
        while len(place):
            yield place, later
            later = later + 1
            inside = later < end[place]
            place, later = place[inside], later[inside]
