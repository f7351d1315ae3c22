"""Finds all pairs of 64-bit codes within a Hamming distance, exactly, by multi-index hashing.

The 64 bits are dealt into `distance + k` blocks. Codes that differ in at most `distance` bits
differ in at most `distance` blocks, so they agree in at least `k` blocks. With one hash table for
each choice of k blocks, keyed by those blocks, every pair therefore meets in some table (Norouzi,
Punjani, Fleet: Fast Exact Search in Hamming Space with Multi-Index Hashing, 2014; with k blocks
instead of one, keys are longer and candidates fewer). k grows with the number of codes: it is 2 for
ten million codes at distance 4, where 15 tables have keys of some 21 bits, and 3 for a billion.

The search is cheap because

- no table is built. Codes are partitioned by their first block into parts that fit a core's cache,
  and split there by other blocks until few are left, which are all compared;
- equal codes are grouped before the search (`group_equal`), and become links instead of pairs;
- codes under a key that very many share are searched again, by the bits that vary among them;
- memory holds only the codes, a copy of some of them, and the pairs of the current parts.

A pair belongs to the first block in which its codes agree. So the codes with some values of a block
can be searched independently of all others, in another process: see `pairs_of_block`.

On a laptop: `python -c "import numpy as np; from nucleus_data.stages.dedup.search import
near_pairs; print(near_pairs(np.arange(100, dtype=np.uint64), 1))"`
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nucleus_data.stages.dedup import radix_kernels, search_kernels
from nucleus_data.stages.dedup.blocks import Blocks, bit_shares, blocks_to_agree, varying_bits
from nucleus_data.stages.dedup.codes import MAX_DISTANCE, Codes, Distances, Indices, popcount
from nucleus_data.stages.dedup.groups import cores, offsets, pieces, sort_codes
from nucleus_data.stages.dedup.search_kernels import Room, Wanted

# Most codes under one key for which comparing all pairs is cheaper than a refined search. More than
# 4,096 distinct codes vary in 13 bits or more, and there are at most 12 blocks, so each refinement
# has at least a bit less in every block, and the recursion ends.
HOT = 4096
TASKS = 64
FEW = 64  # up to so many codes, all pairs are compared
AT_ONCE = 1 << 25  # about how many codes are partitioned at a time, by ranges of a block's values


@dataclass(frozen=True)
class Layout:
    """How codes are searched.

    Attributes:
        blocks: The bits of each block.
        equal: Number of blocks (k) in which near codes agree at least.
        distance: Largest Hamming distance.
    """

    blocks: Blocks
    equal: int
    distance: int

    @classmethod
    def chosen(cls, shares: np.ndarray, count: int, distance: int) -> "Layout":
        """Chooses the layout for `count` codes with these `bit_shares`; it only affects time."""
        equal = blocks_to_agree(count, distance, len(varying_bits(shares)))
        return cls(Blocks.dealt(shares, distance + equal), equal, distance)

    @property
    def first_blocks(self) -> range:
        """The blocks that pairs can belong to."""
        return range(self.distance + 1)

    def values(self, codes: Codes, block: int) -> Indices:
        """Returns each code's value in a block, int64[N], below 2^12."""
        shift, mask = self.blocks.shifts[block], self.blocks.masks[block]
        values: Indices = ((self.blocks.permute(codes) & mask) >> shift).astype(np.int64)
        return values


def near_pairs(
    codes: Codes, distance: int = 4, threads: int | None = None
) -> tuple[Indices, Indices, Distances]:
    """Finds all pairs of distinct codes that differ in at most `distance` bits.

    Args:
        codes: uint64[N], no two equal (see `group_equal`).
        distance: Largest Hamming distance, 0 to 8.
        threads: Number of threads; all cores by default.

    Returns:
        Three arrays of length P: the indices `first < second` (int64; each pair once, sorted by
        first, then second), and the distances (int8, 1 to `distance`).

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
    """Yields the pairs of `near_pairs` in pieces, in no particular order."""
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance must be 0 to {MAX_DISTANCE}, got {distance}")
    with ThreadPoolExecutor(threads or cores()) as pool:
        find = _Places(codes, pool)
        for pairs in _search(find.rising, distance, pool):
            yield find.indices(pairs, pool)


def pairs_of_block(
    codes: Codes, layout: Layout, block: int, threads: int | None = None
) -> Iterator[tuple[Indices, Indices, Distances]]:
    """Yields the pairs of `near_pairs` that belong to a block, in pieces, in no particular order.

    The pairs of all blocks in `layout.first_blocks` together are all pairs, each once. Codes with
    different values in the block are never a pair of it, so they can be searched in separate calls.

    Args:
        codes: Distinct codes, uint64[N].
        layout: The layout; the same one for all parts of a search.
        block: One of `layout.first_blocks`.
        threads: Number of threads; all cores by default.
    """
    with ThreadPoolExecutor(threads or cores()) as pool:
        find = _Places(codes, pool)
        for pairs in _search_block(find.rising, layout, block, pool):
            yield find.indices(pairs, pool)


def pairs_by_block(
    codes: Codes, layout: Layout, threads: int | None = None
) -> Iterator[Iterator[tuple[Indices, Indices, Distances]]]:
    """Yields for each of `layout.first_blocks` what `pairs_of_block` does.

    Each iterator must be consumed before the next one is requested.
    """
    with ThreadPoolExecutor(threads or cores()) as pool:
        find = _Places(codes, pool)
        for block in layout.first_blocks:
            found = _search_block(find.rising, layout, block, pool)
            yield (find.indices(pairs, pool) for pairs in found)


class _Places:
    """Sorted codes, and their original indices, found by a table of the top bits and bisection."""

    def __init__(self, codes: Codes, pool: ThreadPoolExecutor) -> None:
        if codes.ndim != 1 or codes.dtype != np.uint64:
            raise ValueError(f"codes must be uint64[N], got {codes.dtype} of shape {codes.shape}")
        self.rising, self.order = codes, None
        if not (codes[1:] > codes[:-1]).all():
            self.rising, self.order = sort_codes(codes, pool)
        if (self.rising[1:] == self.rising[:-1]).any():
            raise ValueError(
                "codes must be distinct, got equal ones: group them first with group_equal"
            )
        bits = min(22, max(1, len(codes).bit_length() - 3))
        self.shift = np.uint64(64 - bits)
        edges = np.arange(1 << bits, dtype=np.uint64) << self.shift
        self.starts = np.append(np.searchsorted(self.rising, edges), len(codes))

    def indices(self, pairs: Codes, pool: ThreadPoolExecutor) -> tuple[Indices, Indices, Distances]:
        """Converts pairs of codes, uint64[P, 2], to indices (smaller first) and distances."""
        apart = popcount(pairs[:, 0] ^ pairs[:, 1]).astype(np.int8)
        parts = np.array_split(np.ascontiguousarray(pairs.T).reshape(-1), pool._max_workers)
        places = np.concatenate(list(pool.map(self._locate, parts)))
        if self.order is not None:
            places = self.order[places].astype(np.int64)
        one, other = places[: len(pairs)], places[len(pairs) :]
        return np.minimum(one, other), np.maximum(one, other), apart

    def _locate(self, wanted: Codes) -> Indices:
        places: Indices = radix_kernels.locate(self.rising, self.starts, self.shift, wanted)
        return places


def _search(codes: Codes, distance: int, pool: ThreadPoolExecutor) -> Iterator[Codes]:
    """Yields pairs of near codes, each once, as uint64[P, 2]; the codes must be distinct."""
    if len(codes) < 2 or distance == 0:
        return
    if len(codes) <= FEW:
        yield _all_pairs(codes, distance)
        return
    layout = Layout.chosen(bit_shares(codes), len(codes), distance)
    for block in layout.first_blocks:
        yield from _search_block(codes, layout, block, pool)


def _all_pairs(codes: Codes, distance: int) -> Codes:
    first, second = np.triu_indices(len(codes), 1)
    near = popcount(codes[first] ^ codes[second]) <= distance
    return np.stack([codes[first[near]], codes[second[near]]], 1)


def _search_block(
    codes: Codes, layout: Layout, block: int, pool: ThreadPoolExecutor
) -> Iterator[Codes]:
    """Yields pairs of near codes that belong to a block, as uint64[P, 2]."""
    for parts, starts in _partitioned(codes, layout.blocks, block, pool):
        made = [_Task(parts, starts, layout, block, *piece) for piece in _ranges(starts)]
        for task in pool.map(_Task.done, made):
            if len(task.pairs):
                yield layout.blocks.restore(task.pairs.reshape(-1)).reshape(-1, 2)
            for group, prefix, after in task.hot:
                yield from _refined(group, prefix, after, layout, pool)


def _refined(
    group: Codes, prefix: int, after: int, layout: Layout, pool: ThreadPoolExecutor
) -> Iterator[Codes]:
    """Yields the pairs in a hot group of permuted codes that belong to its choice of blocks."""
    blocks = layout.blocks
    for pairs in _search(group, layout.distance, pool):
        difference = pairs[:, 0] ^ pairs[:, 1]
        mine = np.ones(len(pairs), bool)
        for block in range(after):
            if not prefix >> block & 1:
                mine &= (difference & blocks.masks[block]) != 0
        if mine.any():
            yield blocks.restore(pairs[mine].reshape(-1)).reshape(-1, 2)


def _partitioned(
    codes: Codes, blocks: Blocks, block: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[Codes, Indices]]:
    """Yields permuted codes, ordered by their value in a block, and where each value begins.

    Each item has the codes of a range of values, so that only a part of them is copied at a time.
    """
    shift, mask = blocks.shifts[block], blocks.masks[block] >> blocks.shifts[block]
    parts = pieces(len(codes), pool)
    counts = np.zeros((len(parts), int(mask) + 1), np.int64)

    def count(k: int) -> None:
        radix_kernels.count_parts(codes[slice(*parts[k])], blocks.forward, shift, mask, counts[k])

    list(pool.map(count, range(len(parts))))
    turn = np.cumsum(counts.sum(0)) // AT_ONCE
    for first, end in _runs(turn):
        starts, places = offsets(counts[:, first:end])
        out = np.empty(int(starts[-1]), np.uint64)

        def scatter(k: int, first: int = first, places: Indices = places, out: Codes = out) -> None:
            part = codes[slice(*parts[k])]
            radix_kernels.scatter_parts(part, blocks.forward, shift, mask, first, places[k], out)

        list(pool.map(scatter, range(len(parts))))
        yield out, starts


def _runs(values: Indices) -> list[tuple[int, int]]:
    """Returns where runs of equal values begin and end."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return list(pairwise(edges))


def _ranges(starts: Indices) -> list[tuple[int, int]]:
    """Divides parts into at most `TASKS` ranges with about equal numbers of codes."""
    wanted = np.linspace(0, starts[-1], TASKS + 1)[1:]
    ends = np.unique(np.searchsorted(starts, wanted))
    return [(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True) if b > a]


class _Task:
    """The search of some parts of a block; it grows the buffers for pairs as needed."""

    def __init__(
        self, parts: Codes, starts: Indices, layout: Layout, block: int, first: int, last: int
    ) -> None:
        blocks = layout.blocks
        self.parts, self.starts = parts, starts[first : last + 1]
        self.wanted = Wanted(block, layout.equal, blocks.shifts, blocks.masks, layout.distance, HOT)
        self.pairs = np.empty((0, 2), np.uint64)
        self.hot: list[tuple[Codes, int, int]] = []

    def done(self) -> "_Task":
        """Runs the search, again with larger buffers if the pairs did not fit."""
        wanted, starts = self.wanted, self.starts
        levels, longest = wanted.equal + 1, int(np.diff(starts).max(initial=0))
        buffers = np.empty((levels, longest), np.uint64)
        counts = np.empty((levels, int((wanted.masks >> wanted.shifts).max()) + 2), np.int64)
        size, hot_size = 1024 + int(starts[-1] - starts[0]) // 8, 0
        while True:
            room = Room(
                buffers,
                counts,
                np.empty((size, 2), np.uint64),
                np.empty(hot_size, np.uint64),
                np.empty((hot_size // HOT, 3), np.int64),
                np.zeros(4, np.int64),
            )
            search_kernels.search_parts(self.parts, starts, wanted, room)
            if not room.state[search_kernels.FULL]:
                break
            # The number of pairs is only known afterwards. Searching again is rare, and cheaper
            # than buffers for the worst case.
            size, hot_size = 4 * size, max(8 * HOT, 4 * hot_size)
        self.pairs = room.out[: room.state[search_kernels.PAIRS]].copy()
        end = 0
        for count, prefix, after in room.hot_groups[
            : room.state[search_kernels.HOT_GROUPS]
        ].tolist():
            self.hot.append((room.hot_codes[end : end + count].copy(), prefix, after))
            end += count
        assert end == room.state[search_kernels.HOT_CODES]
        return self
