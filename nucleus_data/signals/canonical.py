"""Perceptual hashes that stay when a picture is mirrored, turned or framed. Not among the defaults.

| column | meaning |
|---|---|
| canonical_phash, _hash256 | as of `hash`, inside the borders, in the canonical orientation |
| canonical_width, _height | long and short side of what lies inside the borders, in pixels |

Borders are those that `layout` finds; they are left alone where less than 40 % of a side would
stay. Of the eight orientations (four turns, each mirrored or not), canonical is the one

1. that lies: its width is the long side. Only up to 5 % off a square, the one with more power in
   frequencies across than down (between the 4x4 lowest ones);
2. of these four, the one with the largest sum of the signed squares of those coefficients: the
   strongest contrasts between left and right, top and bottom decide, which no re-encoding turns.

A tie is decided by the smaller 256-bit hash. A mirror negates the odd frequencies and a turn swaps
both axes, all in exact integers: so equal averages have equal hashes. The median is taken after the
turn, so the values are those that `hash` has for the picture turned so. What is left: the small
view's own rounding (averaging across first, then down), which moves a few bits of a turned copy,
and pictures that are nearly their own mirror image, which may choose either way.
"""

import math
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup
from nucleus_data.signals.hash import COARSE, FINE, hashes
from nucleus_data.signals.layout import borders

_LYING = 1.05
_DECIDING = 4  # lowest frequencies along each side
_STEP = 2.0**24  # coefficients that decide are kept in steps of 1/256 luma level
_LEAST = 0.4
_BOTH = (False, True)

Floats = NDArray[np.float64]
Turn = tuple[bool, bool, bool]


def turned(block_KK: Floats, turn: Turn) -> Floats:
    """The DCT block of a picture that is mirrored and turned.

    Args:
        block_KK: Coefficients, from `lowest_frequencies`.
        turn: Whether left and right are swapped, then top and bottom, then both axes.

    Returns:
        Another K x K block.
    """
    across, down, swap = turn
    block_KK = block_KK.copy()
    if across:
        block_KK[:, 1::2] *= -1
    if down:
        block_KK[1::2] *= -1
    return np.ascontiguousarray(block_KK.T) if swap else block_KK


def canonical_turn(block_KK: Floats, width: int, height: int) -> Turn:
    """Which turn brings a picture into its canonical orientation, as defined above.

    Args:
        block_KK: 16x16 coefficients of 64x64 averages.
        width: Width inside the borders, in pixels.
        height: Height inside the borders, in pixels.
    """
    from nucleus_data.signals.grid import packed_bits  # not without need: numba

    lowest = np.rint(block_KK[:_DECIDING, :_DECIDING] / _STEP)
    lying = max(width, height) > _LYING * min(width, height)
    swaps = (height > width,) if lying else _BOTH

    def rank(turn: Turn) -> tuple[float, float]:
        there = turned(lowest, turn)
        power = there * there
        return float((np.triu(power) - np.tril(power)).sum()), float((there * np.abs(there)).sum())

    turns = [(across, down, swap) for swap in swaps for across in _BOTH for down in _BOTH]
    ranks = [rank(turn) for turn in turns]
    best = [turn for turn, its in zip(turns, ranks, strict=True) if its == max(ranks)]
    return min(best, key=lambda turn: packed_bits(turned(block_KK, turn)).tolist())


def inner_borders(luma_full_HW: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """The shares of the sides that borders take: left, top, right, bottom.

    Args:
        luma_full_HW: 0..255.

    Returns:
        Zeros for a direction in which less than 40 % would stay.
    """
    left, top, right, bottom = borders(luma_full_HW)
    if left + right > 1 - _LEAST:
        left = right = 0.0
    if top + bottom > 1 - _LEAST:
        top = bottom = 0.0
    return left, top, right, bottom


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    from nucleus_data.signals.grid import lowest_frequencies, packed_bits  # not without need: numba

    left, top, right, bottom = inner_borders(picture.luma_full)
    luma = picture.luma_small
    rows, columns = luma.shape
    # Inwards: a pixel that is partly border would be a line along the edge.
    inner = luma[
        math.ceil(top * rows) : rows - math.ceil(bottom * rows),
        math.ceil(left * columns) : columns - math.ceil(right * columns),
    ]
    width = max(1, round(picture.header.width * (1 - left - right)))
    height = max(1, round(picture.header.height * (1 - top - bottom)))
    coarse, fine = lowest_frequencies(
        np.ascontiguousarray(inner if inner.size else luma), COARSE, FINE
    )
    turn = canonical_turn(fine, width, height)
    found = hashes(*packed_bits(turned(coarse, turn)), *packed_bits(turned(fine, turn)))
    return {
        "canonical_phash": found["phash"],
        "canonical_hash256": found["hash256"],
        "canonical_width": max(width, height),
        "canonical_height": min(width, height),
    }


group = SignalGroup(
    name="canonical",
    version=3,
    schema=pa.schema(
        [
            ("canonical_phash", pa.uint64()),
            ("canonical_hash256", pa.binary(32)),
            ("canonical_width", pa.int32()),
            ("canonical_height", pa.int32()),
        ]
    ),
    measure=measure,
)
