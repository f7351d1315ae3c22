"""Inner loops of the search for near codes (multi-index hashing, see `search`); numba.

`search_parts` splits codes by one block after another, until few are left, and compares those. It
releases the interpreter's lock. Codes are permuted (`radix_kernels`): a block's value is one shift
and one mask.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import Codes

# Up to so many codes with equal blocks are compared at once, however many blocks could still tell
# them apart: sorting them would take longer.
SMALL = 48
# Of `Room.state`: pairs and hot codes written, hot groups, and whether something did not fit.
PAIRS, HOT_CODES, HOT_GROUPS, FULL = range(4)


class Wanted(NamedTuple):
    """What is searched for.

    Attributes:
        block: The first block in which the pairs agree.
        equal: In how many blocks near codes must agree.
        shifts: How far each block of a permuted code is from the lowest bit, uint64[B].
        masks: The bits of each block in a permuted code, uint64[B].
        distance: Largest Hamming distance.
        hot: Groups of more codes that agree in `equal` blocks are not compared, but given back.
    """

    block: int
    equal: int
    shifts: Codes
    masks: Codes
    distance: int
    hot: int


class Room(NamedTuple):
    """Where a search writes.

    Attributes:
        buffers: Scratch, (equal + 1, longest part).
        counts: Scratch, (equal + 1, values of a block + 1).
        out: Pairs, (room, 2).
        hot_codes: Hot groups' codes.
        hot_groups: Their sizes, prefixes, and the block after the last of the prefix.
        state: Counts and flags, see `PAIRS`.
    """

    buffers: Codes
    counts: NDArray[np.int64]
    out: Codes
    hot_codes: Codes
    hot_groups: NDArray[np.int64]
    state: NDArray[np.int64]


@intrinsic
def popcount_one(typing_context: Any, value: Any) -> Any:
    """One bits of a uint64; the processor's own instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@njit(nogil=True, cache=True)
def _compare(codes: Codes, prefix: int, last: int, wanted: Wanted, room: Room) -> None:
    """All near pairs of codes that agree in the blocks of `prefix`, if no others before `last` do.

    A pair agrees in several choices of blocks; it belongs to the first ones.
    """
    n = len(codes)
    limit = np.uint64(wanted.distance)
    for i in range(n - 1):
        code = codes[i]
        # First only counted, in a loop without branches that becomes vector instructions: most
        # codes have no near one.
        near = 0
        for j in range(i + 1, n):
            near += popcount_one(code ^ codes[j]) <= limit
        if near == 0:
            continue
        for j in range(i + 1, n):
            difference = code ^ codes[j]
            if popcount_one(difference) > limit:
                continue
            # A pair that also agrees in an earlier block outside this choice is written there.
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
    """Writes codes by a block's value, and where each value ends."""
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
    """Gives a hot group back: its codes, the blocks in which they agree, and the next block."""
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
    """Splits codes that agree in one block by another, and so on, depth first.

    Without recursion: numba crashes when it loads a recursive function from its cache.
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
        if value[level] == values[level]:  # every value of this block is done: the next block
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
    """Searches parts of permuted codes, each of one value of `wanted.block`.

    Args:
        codes: uint64[N], by the value of the block.
        starts: Where each part begins, and where the last one ends.
        wanted: What to find.
        room: Where it goes.
    """
    for part in range(len(starts) - 1):
        size = starts[part + 1] - starts[part]
        if size < 2:
            continue
        room.buffers[1, :size] = codes[starts[part] : starts[part + 1]]
        _search_part(size, wanted, room)
        if room.state[FULL]:
            return
