"""Perceptual hashes that are invariant to mirroring, rotation and borders; not a default group.

| column | meaning |
|---|---|
| canonical_phash, _hash256 | as in `hash`, inside the borders, in the canonical orientation |
| canonical_width, _height | long and short side of the part inside the borders, in pixels |

Borders are detected by `layout`; they are ignored where less than 40 % of a side would remain. Of
the eight orientations (four rotations, each mirrored or not), the canonical one is determined by
two rules:

1. It is in landscape format, its width being the long side. For a picture within 5 % of a square,
   it has more power in horizontal than in vertical frequencies (of the 4x4 lowest ones).
2. Of the remaining four, it has the largest sum of the signed squares of these coefficients. Thus
   the strongest contrasts between left and right, and top and bottom, decide; re-encoding does not
   reverse these.

A tie is resolved by the smaller 256-bit hash. Mirroring negates the odd frequencies, and rotation
swaps the axes; both are exact in integers, so equal averages have equal hashes. The median is taken
in the canonical orientation, so the values are those of `hash` for the reoriented picture. Two
causes of differences remain: the small view's rounding (it averages horizontally, then vertically)
changes a few bits of a rotated copy, and a picture that is almost its own mirror image may get
either orientation.
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
_STEP = 2.0**24  # the deciding coefficients are rounded to steps of 1/256 luma level
_LEAST = 0.4
_BOTH = (False, True)

Floats = NDArray[np.float64]
Turn = tuple[bool, bool, bool]


def turned(block_KK: Floats, turn: Turn) -> Floats:
    """Returns the DCT block of the mirrored and rotated picture.

    Args:
        block_KK: Coefficients from `lowest_frequencies`, float64[K, K].
        turn: Whether to swap left and right, then top and bottom, then both axes.

    Returns:
        float64[K, K].
    """
    across, down, swap = turn
    block_KK = block_KK.copy()
    if across:
        block_KK[:, 1::2] *= -1
    if down:
        block_KK[1::2] *= -1
    return np.ascontiguousarray(block_KK.T) if swap else block_KK


def canonical_turn(block_KK: Floats, width: int, height: int) -> Turn:
    """Returns the operations that bring a picture into its canonical orientation, defined above.

    Args:
        block_KK: Coefficients of the 64x64 averages, float64[16, 16].
        width: Width inside the borders, in pixels.
        height: Height inside the borders, in pixels.
    """
    from nucleus_data.signals.grid import packed_bits  # imported here, as it imports numba

    lowest = np.rint(block_KK[:_DECIDING, :_DECIDING] / _STEP)
    lying = max(width, height) > _LYING * min(width, height)
    swaps = (height > width,) if lying else _BOTH

    def rank(turn: Turn) -> tuple[float, float]:
        block = turned(lowest, turn)
        power = block * block
        return float((np.triu(power) - np.tril(power)).sum()), float((block * np.abs(block)).sum())

    turns = [(across, down, swap) for swap in swaps for across in _BOTH for down in _BOTH]
    ranks = [rank(turn) for turn in turns]
    best = [turn for turn, its in zip(turns, ranks, strict=True) if its == max(ranks)]
    return min(best, key=lambda turn: packed_bits(turned(block_KK, turn)).tolist())


def inner_borders(luma_full_HW: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Returns the widths of the left, top, right and bottom borders, as shares of the sides.

    Args:
        luma_full_HW: uint8[H, W].

    Returns:
        Zeros for a direction in which less than 40 % of the side would remain.
    """
    left, top, right, bottom = borders(luma_full_HW)
    if left + right > 1 - _LEAST:
        left = right = 0.0
    if top + bottom > 1 - _LEAST:
        top = bottom = 0.0
    return left, top, right, bottom


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """Computes the columns of the table above for one picture."""
    from nucleus_data.signals.grid import lowest_frequencies, packed_bits  # here: imports numba

    left, top, right, bottom = inner_borders(picture.luma_full)
    luma = picture.luma_small
    rows, columns = luma.shape
    # Round inwards, as a pixel that is partly border would add a line along the edge.
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
