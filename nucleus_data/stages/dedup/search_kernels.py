"""numba kernels of the search for near codes (multi-index hashing, see `search`).

`search_parts` splits codes by one block after another until few are left, and compares those. It
releases the GIL. Codes are permuted (`radix_kernels`), so that reading a block's value takes one
shift and one mask.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Codes

# Groups of at most so many codes are compared without splitting them by further blocks, which would
# take longer.
SMALL = 48
# Indices into `Room.state`: numbers of pairs, hot codes and hot groups written, and whether
# something did not fit.
PAIRS, HOT_CODES, HOT_GROUPS, FULL = range(4)


class Wanted(NamedTuple):
    """What is searched for.

    Attributes:
        block: The first block in which the pairs agree.
        equal: Number of blocks in which near codes must agree.
        shifts: Offset of each block in a permuted code from the lowest bit, uint64[B].
        masks: The bits of each block in a permuted code, uint64[B].
        distance: Largest Hamming distance.
        hot: Larger groups of codes that agree in `equal` blocks are not compared, but returned.
    """

    block: int
    equal: int
    shifts: Codes
    masks: Codes
    distance: int
    hot: int


class Room(NamedTuple):
    """Arrays that a search writes into.

    Attributes:
        buffers: Scratch space, uint64[equal + 1, longest part].
        counts: Scratch space, int64[equal + 1, values of a block + 1].
        out: Pairs of codes, uint64[room, 2].
        hot_codes: The codes of hot groups, concatenated.
        hot_groups: For each hot group its size, its prefix, and the block after the last one in the
            prefix. A prefix is the set of blocks in which the codes agree, as a bit mask.
        state: Counts and a flag; see `PAIRS`.
    """

    buffers: Codes
    counts: NDArray[np.int64]
    out: Codes
    hot_codes: Codes
    hot_groups: NDArray[np.int64]
    state: NDArray[np.int64]


@intrinsic
def popcount_one(typing_context: Any, value: Any) -> Any:
    """Counts the set bits of a uint64, by the processor's own instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@njit(nogil=True, cache=True)
def _compare(codes: Codes, prefix: int, last: int, wanted: Wanted, room: Room) -> None:
    """Writes near pairs of codes that agree in the blocks of `prefix` and no other before `last`.

    A pair may agree in several choices of blocks; it belongs to the first one.
    """
    n = len(codes)
    limit = np.uint64(wanted.distance)
    for i in range(n - 1):
        code = codes[i]
        # Only counted at first, in a loop without branches, which compiles to vector instructions:
        # most codes have no near one.
        near = 0
        for j in range(i + 1, n):
            near += popcount_one(code ^ codes[j]) <= limit
        if near == 0:
            continue
        for j in range(i + 1, n):
            difference = code ^ codes[j]
            if popcount_one(difference) > limit:
                continue
            # If a pair also agrees in an earlier block outside this choice, another one has it.
            mine = True
            for block in range(last):
                if not (prefix >> block) & 1 and difference & wanted.masks[block] == 0:
                    mine = False
                    break
            if mine:
                at = room.state[PAIRS]
                if at >= len(room.out):
                    room.state[FULL] = 1
                    return
                room.out[at, 0] = code
                room.out[at, 1] = codes[j]
                room.state[PAIRS] = at + 1


@njit(nogil=True, cache=True)
def _split(
    codes: Codes,
    mask: np.uint64,
    shift: np.uint64,
    values: int,
    ends: NDArray[np.int64],
    out: Codes,
) -> None:
    """Writes codes to `out`, ordered by their value in a block, and to `ends` where values end."""
    ends[: values + 1] = 0
    for i in range(len(codes)):
        ends[np.int64((codes[i] & mask) >> shift) + 1] += 1
    for value in range(values):
        ends[value + 1] += ends[value]
    for i in range(len(codes)):
        mine = np.int64((codes[i] & mask) >> shift)
        out[ends[mine]] = codes[i]
        ends[mine] += 1


@njit(nogil=True, cache=True)
def _keep_hot(codes: Codes, prefix: int, after: int, room: Room) -> None:
    """Writes a hot group to `room`: its codes, the blocks in which they agree, the next block."""
    at, group = room.state[HOT_CODES], room.state[HOT_GROUPS]
    if at + len(codes) > len(room.hot_codes) or group >= len(room.hot_groups):
        room.state[FULL] = 1
        return
    room.hot_codes[at : at + len(codes)] = codes
    room.hot_groups[group, 0] = len(codes)
    room.hot_groups[group, 1] = prefix
    room.hot_groups[group, 2] = after
    room.state[HOT_CODES] = at + len(codes)
    room.state[HOT_GROUPS] = group + 1


@njit(nogil=True, cache=True)
def _search_part(size: int, wanted: Wanted, room: Room) -> None:
    """Splits codes that agree in one block by further blocks, depth first.

    It is not recursive, because numba crashes when it loads a recursive function from its cache.
    """
    block, equal, shifts, masks = wanted.block, wanted.equal, wanted.shifts, wanted.masks
    buffers, ends = room.buffers, room.counts
    low, high, prefix = np.zeros((3, equal + 1), np.int64)
    last, value, values, start = np.zeros((4, equal + 1), np.int64)
    level, arrived = 1, True
    high[1], prefix[1], last[1] = size, 1 << block, block
    while level > 0 and not room.state[FULL]:
        if arrived:
            arrived = False
            value[level], values[level] = 0, 0
            count = high[level] - low[level]
            if count <= SMALL or level == equal:
                mine = buffers[level, low[level] : high[level]]
                if count <= wanted.hot:
                    _compare(mine, prefix[level], last[level] + 1, wanted, room)
                else:
                    _keep_hot(mine, prefix[level], last[level] + 1, room)
                level -= 1
                continue
        if value[level] == values[level]:  # all values of this block are done: take the next one
            last[level] += 1
            chosen = last[level]
            if chosen > len(masks) - (equal - level):
                level -= 1
                continue
            value[level], start[level] = 0, low[level]
            values[level] = np.int64(masks[chosen] >> shifts[chosen]) + 1
            _split(
                buffers[level, low[level] : high[level]],
                masks[chosen],
                shifts[chosen],
                values[level],
                ends[level],
                buffers[level + 1, low[level] : high[level]],
            )
        first = start[level]
        end = low[level] + ends[level, value[level]]
        value[level] += 1
        start[level] = end
        if end - first > 1:
            low[level + 1], high[level + 1] = first, end
            prefix[level + 1] = prefix[level] | (1 << last[level])
            last[level + 1] = last[level]
            level, arrived = level + 1, True


@njit(nogil=True, cache=True)
def search_parts(codes: Codes, starts: NDArray[np.int64], wanted: Wanted, room: Room) -> None:
    """Searches parts of permuted codes, where a part has one value in `wanted.block`.

    Args:
        codes: Permuted codes, ordered by their value in the block, uint64[N].
        starts: Where each part begins, and where the last one ends.
        wanted: What to find.
        room: Receives the pairs and hot groups. If they do not fit, its flag `FULL` is set.
    """
    for part in range(len(starts) - 1):
        size = starts[part + 1] - starts[part]
        if size < 2:
            continue
        room.buffers[1, :size] = codes[starts[part] : starts[part + 1]]
        _search_part(size, wanted, room)
        if room.state[FULL]:
            return
