"""All pairs of 64-bit codes within a Hamming distance: exact, by multi-index hashing.

Deal the 64 bits into `distance + k` blocks. Codes that differ in at most `distance` bits differ in
at most `distance` blocks, so they agree in at least `k`. One table for each choice of k blocks, its
key those blocks, therefore meets every pair in some table. (Norouzi, Punjani, Fleet: Fast Exact
Search in Hamming Space with Multi-Index Hashing, 2014; with k blocks instead of one, the keys are
longer and the candidates fewer.) k grows with the number of codes: 2 for ten million codes at
distance 4, so that 15 tables have keys of some 21 bits; 3 for a thousand million.

What keeps it cheap:

- No table is built. Codes are partitioned by their first block into parts that stay in a core's
  cache, and split there by the others, until few are left, which are all compared.
- Equal codes are grouped before the search (`group_equal`), and links written instead of pairs.
- A key that very many codes share is refined: they are searched again, by the bits that vary among
  them.
- Memory: the codes, one copy of them, and the pairs of the parts at hand.

On a laptop: `python -c "import numpy as np; from nucleus_data.dedup.search import near_pairs;
print(near_pairs(np.arange(100, dtype=np.uint64), 1))"`
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleus_data.dedup import kernels
from nucleus_data.dedup.codes import MAX_DISTANCE, Codes, Distances, Indices, popcount
from nucleus_data.dedup.kernels import FULL, HOT_CODES, HOT_GROUPS, PAIRS

MAX_EQUAL = 4
# A part has 4 KB to some MB, and the counts of one split fit a core's first cache.
MAX_BLOCK_BITS = 12
# Codes with one key up to which trying all pairs is cheaper than a refined search. More than
# 4,096 distinct codes vary in 13 bits or more, and there are at most 12 blocks: each refinement has
# a bit less in every block, and ends.
HOT = 4096
# Codes looked at to learn which bits tell them apart.
SAMPLE = 1 << 16
TASKS = 64
CHUNK = 1 << 22  # of what would take as much memory as the codes
# Seconds for sorting a code once and comparing a pair; measured once, they only choose k.
SORT_S, COMPARE_S = 6e-9, 0.7e-9
FEW = 64


def cores() -> int:
    """Processors that this process may use."""
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

    def of_each(self) -> Indices:
        """For each of the N codes, the place of its group: int64[N]."""
        groups = np.empty(len(self.order), np.int64)
        groups[self.order] = np.repeat(np.arange(len(self.codes)), np.diff(self.starts))
        return groups


def group_equal(codes: Codes, threads: int | None = None) -> Groups:
    """Sorts codes and groups equal ones.

    Args:
        codes: uint64[N].
        threads: How many; all cores by default.

    Returns:
        The groups; the same whatever the threads.
    """
    with ThreadPoolExecutor(threads or cores()) as pool:
        kept, order = _sorted(codes, pool)
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


def _sorted(codes: Codes, pool: ThreadPoolExecutor) -> tuple[Codes, NDArray[np.uint32] | Indices]:
    """Rising codes and their places: partitioned by the highest bits, then sorted part by part."""
    count = len(codes)
    bits = min(MAX_BLOCK_BITS, max(1, count.bit_length() - 8))
    shift = np.uint64(64 - bits)
    pieces = _pieces(count, pool)
    counts = np.zeros((len(pieces), 1 << bits), np.int64)
    list(
        pool.map(
            lambda k: kernels.count_tops(codes[slice(*pieces[k])], shift, counts[k]),
            range(len(pieces)),
        )
    )
    starts, places = _offsets(counts)
    kind: Any = np.uint32 if count < 1 << 32 else np.int64
    out, order = np.empty(count, np.uint64), np.empty(count, kind)
    list(
        pool.map(
            lambda k: kernels.scatter_with_places(
                codes[slice(*pieces[k])], pieces[k][0], shift, places[k], out, order
            ),
            range(len(pieces)),
        )
    )

    def sort(part: int) -> None:
        low, high = starts[part], starts[part + 1]
        size = int(high - low)
        if size > 1:
            spare = np.empty(size, np.uint64), np.empty(size, kind)
            kernels.sort_part(out[low:high], order[low:high], 64 - bits, *spare)

    list(pool.map(sort, range(1 << bits)))
    return out, order


def _pieces(count: int, pool: ThreadPoolExecutor) -> list[tuple[int, int]]:
    ends = np.linspace(0, count, pool._max_workers + 1).astype(np.int64).tolist()
    return list(pairwise(ends))


def _offsets(counts: Indices) -> tuple[Indices, Indices]:
    """Of counts (pieces, values): where each value begins, and where each piece writes its own."""
    totals = counts.sum(0)
    starts = np.concatenate([[0], np.cumsum(totals)])
    return starts, starts[:-1] + np.cumsum(counts, 0) - counts


def near_pairs(
    codes: Codes, distance: int = 4, threads: int | None = None
) -> tuple[Indices, Indices, Distances]:
    """All pairs of distinct codes that differ in at most `distance` bits.

    Args:
        codes: uint64[N], no two equal (see `group_equal`).
        distance: Largest Hamming distance, 0 to 8.
        threads: How many; all cores by default.

    Returns:
        Three arrays of one length: the indices `first < second` (int64, each pair once, sorted by
        first, then second) and the pair's distance (int8, 1 to `distance`).

    Raises:
        ValueError: The codes are not distinct uint64 of one dimension, or the distance is out of
            range.
    """
    parts = list(iterate_near_pairs(codes, distance, threads))
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8)
    first, second, apart = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((second, first))
    return first[order], second[order], apart[order]


def iterate_near_pairs(
    codes: Codes, distance: int = 4, threads: int | None = None
) -> Iterator[tuple[Indices, Indices, Distances]]:
    """The pairs of `near_pairs` in pieces, in no promised order."""
    if codes.ndim != 1 or codes.dtype != np.uint64:
        raise ValueError(f"codes must be uint64[N], got {codes.dtype} of shape {codes.shape}")
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance must be 0 to {MAX_DISTANCE}, got {distance}")
    with ThreadPoolExecutor(threads or cores()) as pool:
        rising, order = codes, None
        if not (codes[1:] > codes[:-1]).all():
            rising, order = _sorted(codes, pool)
        if (rising[1:] == rising[:-1]).any():
            raise ValueError(
                "codes must be distinct, got equal ones: group them first with group_equal"
            )
        find = _Places(rising)
        for pairs in _search(rising, distance, pool):
            apart = popcount(pairs[:, 0] ^ pairs[:, 1]).astype(np.int8)
            halves = np.array_split(np.ascontiguousarray(pairs.T).reshape(-1), pool._max_workers)
            found = np.concatenate(list(pool.map(find, halves)))
            if order is not None:
                found = order[found].astype(np.int64)
            one, other = found[: len(pairs)], found[len(pairs) :]
            yield np.minimum(one, other), np.maximum(one, other), apart


class _Places:
    """Where codes are among rising ones: a table of the highest bits, then halving."""

    def __init__(self, rising: Codes) -> None:
        self.rising = rising
        bits = min(22, max(1, len(rising).bit_length() - 3))
        self.shift = np.uint64(64 - bits)
        edges = np.arange(1 << bits, dtype=np.uint64) << self.shift
        self.starts = np.append(np.searchsorted(rising, edges), len(rising))

    def __call__(self, wanted: Codes) -> Indices:
        places: Indices = kernels.locate(self.rising, self.starts, self.shift, wanted)
        return places


@dataclass(frozen=True)
class Blocks:
    """How bits are dealt into blocks: permuted codes have them side by side, the first one on top.

    Attributes:
        forward: Permutation as a table, uint64 (8 bytes, 256 values).
        back: Its inverse.
        shifts: Of each block in a permuted code, uint64[B].
        masks: Of each block in a permuted code, uint64[B].
    """

    forward: Codes
    back: Codes
    shifts: Codes
    masks: Codes

    @classmethod
    def dealt(cls, codes: Codes, blocks: int) -> "Blocks":
        """Deals the bits that vary among the codes.

        Bits that are set in nearly half of the codes tell them apart best. They are dealt one to
        each block in turn, then the next best, so that no block has only bits that hardly vary: its
        keys would be shared by very many. Which bit goes where changes the time alone, so a sample
        will do for that.
        """
        varying = int(np.bitwise_or.reduce(codes) & ~np.bitwise_and.reduce(codes))
        sample = codes[:: max(1, len(codes) // SAMPLE)]
        share = [(sample >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(64)]
        bits = sorted(
            (bit for bit in range(64) if varying >> bit & 1), key=lambda b: abs(share[b] - 0.5)
        )
        members = [bits[block::blocks][:MAX_BLOCK_BITS] for block in range(blocks)]
        unused = sorted(set(range(64)) - {bit for block in members for bit in block})
        target, shifts, masks = 64, [], []
        moved: dict[int, int] = {}
        for block in members:
            target -= len(block)
            shifts.append(min(target, 63))  # an empty block at the bottom has no bit to shift to
            masks.append(((1 << len(block)) - 1) << target)
            moved |= {bit: target + place for place, bit in enumerate(block)}
        moved |= {bit: place for place, bit in enumerate(unused)}
        return cls(
            _table(moved),
            _table({to: bit for bit, to in moved.items()}),
            np.array(shifts, np.uint64),
            np.array(masks, np.uint64),
        )

    def permute(self, codes: Codes) -> Codes:
        """Codes with their bits in the blocks' places."""
        out = np.empty_like(codes)
        kernels.permute(codes, self.forward, out)
        return out

    def restore(self, codes: Codes) -> Codes:
        """The inverse."""
        out = np.empty_like(codes)
        kernels.permute(codes, self.back, out)
        return out


def _table(moved: dict[int, int]) -> Codes:
    table = np.zeros((8, 256), np.uint64)
    values = np.arange(256, dtype=np.uint64)
    for bit, to in moved.items():
        byte, place = divmod(bit, 8)
        table[byte] |= (values >> np.uint64(place) & np.uint64(1)) << np.uint64(to)
    return table


def blocks_to_agree(count: int, distance: int, bits: int = 64) -> int:
    """k: in how many of `distance + k` blocks codes must agree, by estimated cost.

    Args:
        count: Codes.
        distance: Largest Hamming distance.
        bits: Bits that vary.
    """

    def cost(k: int) -> float:
        blocks = distance + k
        width = min(MAX_BLOCK_BITS, bits / blocks)
        pairs = comb(blocks, k) * count**2 / 2 ** (k * width + 1)
        sorts, left = 0.0, float(count)
        for level in range(1, k + 1):
            group = count / 2 ** ((level - 1) * width)
            if level > 1 and group < kernels.SMALL:
                break
            sorts += left * comb(blocks - k + level, level) * (1 + 2**width / max(group, 1))
        return float(SORT_S * sorts + COMPARE_S * pairs)

    return min(range(1, MAX_EQUAL + 1), key=cost)


def _search(codes: Codes, distance: int, pool: ThreadPoolExecutor) -> Iterator[Codes]:
    """Pairs of near codes, each once, uint64 (P, 2); the codes are distinct."""
    if len(codes) < 2 or distance == 0:
        return
    if len(codes) <= FEW:
        yield _all_pairs(codes, distance)
        return
    varying = int(np.bitwise_or.reduce(codes) & ~np.bitwise_and.reduce(codes)).bit_count()
    equal = blocks_to_agree(len(codes), distance, varying)
    blocks = Blocks.dealt(codes, distance + equal)
    for block in range(distance + 1):
        parts, starts = _partitioned(codes, blocks, block, pool)
        tasks = _ranges(starts)
        made = [_Task(parts, starts, blocks, block, equal, distance, *piece) for piece in tasks]
        for task in pool.map(_Task.done, made):
            if len(task.pairs):
                yield blocks.restore(task.pairs.reshape(-1)).reshape(-1, 2)
            for group, prefix, after in task.hot:
                yield from _refined(group, prefix, after, blocks, distance, pool)


def _all_pairs(codes: Codes, distance: int) -> Codes:
    first, second = np.triu_indices(len(codes), 1)
    near = popcount(codes[first] ^ codes[second]) <= distance
    return np.stack([codes[first[near]], codes[second[near]]], 1)


def _refined(
    group: Codes, prefix: int, after: int, blocks: Blocks, distance: int, pool: ThreadPoolExecutor
) -> Iterator[Codes]:
    """Pairs in a hot group (of permuted codes) that belong to its choice of blocks."""
    for pairs in _search(group, distance, pool):
        difference = pairs[:, 0] ^ pairs[:, 1]
        mine = np.ones(len(pairs), bool)
        for block in range(after):
            if not prefix >> block & 1:
                mine &= (difference & blocks.masks[block]) != 0
        if mine.any():
            yield blocks.restore(pairs[mine].reshape(-1)).reshape(-1, 2)


def _partitioned(
    codes: Codes, blocks: Blocks, block: int, pool: ThreadPoolExecutor
) -> tuple[Codes, Indices]:
    """Permuted codes by the value of a block, and where each value begins."""
    shift, mask = blocks.shifts[block], blocks.masks[block] >> blocks.shifts[block]
    pieces = _pieces(len(codes), pool)
    counts = np.zeros((len(pieces), int(mask) + 1), np.int64)
    list(
        pool.map(
            lambda k: kernels.count_parts(
                codes[slice(*pieces[k])], blocks.forward, shift, mask, counts[k]
            ),
            range(len(pieces)),
        )
    )
    starts, places = _offsets(counts)
    out = np.empty_like(codes)
    list(
        pool.map(
            lambda k: kernels.scatter_parts(
                codes[slice(*pieces[k])], blocks.forward, shift, mask, places[k], out
            ),
            range(len(pieces)),
        )
    )
    return out, starts


def _ranges(starts: Indices) -> list[tuple[int, int]]:
    """Parts in runs of about equal numbers of codes."""
    wanted = np.linspace(0, starts[-1], TASKS + 1)[1:]
    ends = np.unique(np.searchsorted(starts, wanted))
    return [(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True) if b > a]


class _Task:
    """Some parts of one block, searched with as much room for pairs as it takes."""

    def __init__(
        self,
        parts: Codes,
        starts: Indices,
        blocks: Blocks,
        block: int,
        equal: int,
        distance: int,
        first: int,
        last: int,
    ) -> None:
        self.arguments = (parts, starts[first : last + 1], block, equal, blocks, distance)
        self.pairs = np.empty((0, 2), np.uint64)
        self.hot: list[tuple[Codes, int, int]] = []

    def done(self) -> "_Task":
        """Runs; again, with more room, where the pairs did not fit."""
        parts, starts, block, equal, blocks, distance = self.arguments
        sizes = np.diff(starts)
        count, longest = int(starts[-1] - starts[0]), int(sizes.max(initial=0))
        buffers = np.empty((equal + 1, longest), np.uint64)
        widest = int((blocks.masks >> blocks.shifts).max()) + 2
        counts = np.empty((equal + 1, widest), np.int64)
        room, hot_room = 1024 + count // 8, 0
        while True:
            out = np.empty((room, 2), np.uint64)
            hot_codes = np.empty(hot_room, np.uint64)
            hot_groups = np.empty((hot_room // HOT, 3), np.int64)
            state = np.zeros(4, np.int64)
            kernels.search_parts(
                parts,
                starts,
                block,
                equal,
                blocks.shifts,
                blocks.masks,
                distance,
                HOT,
                buffers,
                counts,
                out,
                hot_codes,
                hot_groups,
                state,
            )
            if not state[FULL]:
                break
            room, hot_room = 4 * room, max(8 * HOT, 4 * hot_room)
        self.pairs = out[: state[PAIRS]].copy()
        end = 0
        for size, prefix, after in hot_groups[: state[HOT_GROUPS]].tolist():
            self.hot.append((hot_codes[end : end + size].copy(), prefix, after))
            end += size
        assert end == state[HOT_CODES]
        return self
