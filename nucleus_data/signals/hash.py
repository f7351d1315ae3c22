"""Perceptual hashes, from the luma of the small view.

`phash` (uint64): the DCT hash of Zauner 2010, "Implementation and Benchmarking of Perceptual Image
Hash Functions", section 3.2.1, in its common form.

`hash256` (32 bytes): the same with a 16x16 block of a 64x64 picture; confirms what `phash` finds.

Definition: luma is area-averaged to 32x32 (64x64), whatever the aspect; its orthonormal
two-dimensional DCT-II is taken; of the 8x8 (16x16) lowest frequencies, row by row with the mean
(DC) first, a bit is 1 where the coefficient is above the median of the block's other coefficients
(DC apart). The first bit is the most significant one, and the first of byte 0. (pHash.org drops the
first row and column instead, and smooths with a 7x7 box; `imagehash` counts DC into the median.)

Everything is done in integers held by float64 (each sum stays below 2^53): a value is the same on
every machine, however its matrix library orders additions.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.grid import Floats, lowest_frequencies, packed_bits
from nucleus_data.signals.group import SignalGroup

_FINE = 64
_DCT_SCALE = 4096  # DCT coefficients' factors are kept in steps of 1/4096


def dct_matrix(side: int, kept: int) -> Floats:
    """The first rows of the orthonormal DCT-II matrix, kept x side, in integers of 1/4096."""
    k = np.arange(kept)[:, None]
    n = np.arange(side)[None, :]
    matrix = np.sqrt(2 / side) * np.cos(np.pi * k * (2 * n + 1) / (2 * side))
    matrix[0] = np.sqrt(1 / side)
    return np.rint(matrix * _DCT_SCALE)


_COARSE, _FINEST = dct_matrix(_FINE // 2, 8), dct_matrix(_FINE, 16)


def dct_blocks(luma_HW: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """The 8x8 block of `phash` and the 16x16 block of `hash256`.

    Args:
        luma_HW: 0..255.
    """
    blocks: tuple[Floats, Floats] = lowest_frequencies(luma_HW, _COARSE, _FINEST)
    return blocks


def hashes(block_8: Floats, block_16: Floats) -> dict[str, Any]:
    """The columns of the table above, from those of `dct_blocks`."""
    return {
        "phash": int.from_bytes(packed_bits(block_8).tobytes(), "big"),
        "hash256": packed_bits(block_16).tobytes(),
    }


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    return hashes(*dct_blocks(picture.luma_small))


group = SignalGroup(
    name="hash",
    version=2,
    schema=pa.schema([("phash", pa.uint64()), ("hash256", pa.binary(32))]),
    measure=measure,
)
