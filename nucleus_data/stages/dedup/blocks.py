"""Deals the 64 bits of codes into blocks, and chooses in how many blocks near codes must agree."""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.dedup import radix_kernels, search_kernels
from nucleus_data.stages.dedup.codes import Codes

MAX_EQUAL = 4
# So that a part has 4 KB to some MB, and the counts of one split fit a core's L1 cache.
MAX_BLOCK_BITS = 12
# Codes that are sampled to find out which bits differ most among them.
SAMPLE = 1 << 16
RARE = 1e-9  # assumed share of a bit that varies, but not in the sample
# Seconds for sorting a code once, and for comparing a pair. They only affect the choice of k, so
# measuring them once was enough.
SORT_S, COMPARE_S = 6e-9, 0.7e-9


def bit_shares(codes: Codes) -> NDArray[np.float64]:
    """Estimates the share of the codes in which each bit is set, float64[64].

    0 and 1 are exact: the bit is set in no code, or in all of them.
    """
    varying = int(np.bitwise_or.reduce(codes) & ~np.bitwise_and.reduce(codes))
    sample = codes[:: max(1, len(codes) // SAMPLE)]
    shares = np.zeros(64)
    for bit in range(64):
        if varying >> bit & 1:
            share = (sample >> np.uint64(bit) & np.uint64(1)).mean()
            shares[bit] = min(max(share, RARE), 1 - RARE)
    return shares


def varying_bits(shares: NDArray[np.float64]) -> list[int]:
    """Returns the bits that are not the same in all codes, given the shares of `bit_shares`."""
    return [bit for bit in range(64) if 0 < shares[bit] < 1]


@dataclass(frozen=True)
class Blocks:
    """Blocks of bits; in permuted codes, blocks are contiguous, and the first has the top bits.

    Attributes:
        forward: The permutation as a table, uint64[8 bytes, 256 values].
        back: The inverse permutation, as a table of the same shape.
        shifts: Offset of each block in a permuted code from the lowest bit, uint64[B].
        masks: The bits of each block in a permuted code, uint64[B].
    """

    forward: Codes
    back: Codes
    shifts: Codes
    masks: Codes

    @classmethod
    def dealt(cls, shares: NDArray[np.float64], blocks: int) -> "Blocks":
        """Deals the bits that vary into blocks.

        Bits that are set in nearly half of the codes distinguish them best. Bits are dealt to the
        blocks in turn, the best ones first, so that no block has only bits that hardly vary, with
        keys that very many codes share. The assignment only affects the time.

        Args:
            shares: The share of the codes in which each bit is set, float64[64].
            blocks: Number of blocks.
        """
        bits = sorted(varying_bits(shares), key=lambda bit: abs(shares[bit] - 0.5))
        members = [bits[block::blocks][:MAX_BLOCK_BITS] for block in range(blocks)]
        unused = sorted(set(range(64)) - {bit for block in members for bit in block})
        target, shifts, masks = 64, [], []
        moved: dict[int, int] = {}
        for block in members:
            target -= len(block)
            shifts.append(min(target, 63))  # an empty first block would be shifted by 64
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
        """Permutes the bits of codes, so that blocks are contiguous."""
        out = np.empty_like(codes)
        radix_kernels.permute(codes, self.forward, out)
        return out

    def restore(self, codes: Codes) -> Codes:
        """Reverses `permute`."""
        out = np.empty_like(codes)
        radix_kernels.permute(codes, self.back, out)
        return out


def _table(moved: dict[int, int]) -> Codes:
    table = np.zeros((8, 256), np.uint64)
    values = np.arange(256, dtype=np.uint64)
    for bit, to in moved.items():
        byte, place = divmod(bit, 8)
        table[byte] |= (values >> np.uint64(place) & np.uint64(1)) << np.uint64(to)
    return table


def blocks_to_agree(count: int, distance: int, bits: int = 64) -> int:
    """Chooses in how many (k) of `distance + k` blocks codes must agree, by estimated cost.

    Args:
        count: Number of codes.
        distance: Largest Hamming distance.
        bits: Number of bits that vary.
    """

    def cost(k: int) -> float:
        blocks = distance + k
        width = min(MAX_BLOCK_BITS, bits / blocks)
        pairs = comb(blocks, k) * count**2 / 2 ** (k * width + 1)
        sorts, left = 0.0, float(count)
        for level in range(1, k + 1):
            group = count / 2 ** ((level - 1) * width)
            if level > 1 and group < search_kernels.SMALL:
                break
            sorts += left * comb(blocks - k + level, level) * (1 + 2**width / max(group, 1))
        return float(SORT_S * sorts + COMPARE_S * pairs)

    return min(range(1, MAX_EQUAL + 1), key=cost)
