"""Perceptual hashes, from the luma of the small view.

`phash` (uint64): the DCT hash of Zauner 2010, "Implementation and Benchmarking of Perceptual Image
Hash Functions", section 3.2.1, in its common form.

`hash256` (32 bytes): the same with a 16x16 block of a 64x64 picture, to confirm matches of `phash`.

Definition: luma is area-averaged to 32x32 (64x64), whatever the aspect, and its orthonormal
two-dimensional DCT-II is computed. The bits are those of the 8x8 (16x16) lowest frequencies, row by
row with the mean (DC) first; a bit is 1 where the coefficient is above the median of the block's
coefficients without DC. The first bit is the most significant one of the integer, and of byte 0.
(pHash.org drops the first row and column instead, and smooths with a 7x7 box; `imagehash` includes
DC in the median.)

All computations are on integers in float64 (each sum is below 2^53), so a value is the same on
every machine, whatever the order of additions in its matrix library.
"""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_DCT_SCALE = 4096  # factors of the DCT are rounded to steps of 1/4096


def dct_matrix(side: int, kept: int) -> NDArray[np.float64]:
    """Returns the first rows of the orthonormal DCT-II matrix, in integer units of 1/4096.

    Args:
        side: Length of the transformed lines.
        kept: Number of rows.

    Returns:
        float64[kept, side].
    """
    k = np.arange(kept)[:, None]
    n = np.arange(side)[None, :]
    matrix = np.sqrt(2 / side) * np.cos(np.pi * k * (2 * n + 1) / (2 * side))
    matrix[0] = np.sqrt(1 / side)
    return np.rint(matrix * _DCT_SCALE)


# Matrices for the lowest frequencies of `phash` and of `hash256`.
COARSE, FINE = dct_matrix(32, 8), dct_matrix(64, 16)


def hashes(phash: int, *hash256: int) -> dict[str, Any]:
    """Returns the columns of the group, from 64-bit words: one of `phash`, four of `hash256`."""
    return {"phash": int(phash), "hash256": struct.pack(">4Q", *hash256)}


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """Computes `phash` and `hash256` of one picture."""
    from nucleus_data.signals.grid import hash_words  # imported here, as it imports numba

    return hashes(*hash_words(picture.luma_small, COARSE, FINE))


group = SignalGroup(
    name="hash",
    version=3,
    schema=pa.schema([("phash", pa.uint64()), ("hash256", pa.binary(32))]),
    measure=measure,
)
