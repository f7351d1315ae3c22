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

import struct
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_DCT_SCALE = 4096  # DCT coefficients' factors are kept in steps of 1/4096


def dct_matrix(side: int, kept: int) -> NDArray[np.float64]:
    """The first rows of the orthonormal DCT-II matrix, kept x side, in integers of 1/4096."""
    k = np.arange(kept)[:, None]
    n = np.arange(side)[None, :]
    matrix = np.sqrt(2 / side) * np.cos(np.pi * k * (2 * n + 1) / (2 * side))
    matrix[0] = np.sqrt(1 / side)
    return np.rint(matrix * _DCT_SCALE)


# The lowest frequencies of `phash` and of `hash256`.
COARSE, FINE = dct_matrix(32, 8), dct_matrix(64, 16)


def hashes(phash: int, *hash256: int) -> dict[str, Any]:
    """The columns of the table above, from words of 64 bits."""
    return {"phash": int(phash), "hash256": struct.pack(">4Q", *hash256)}


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    from nucleus_data.signals.grid import hash_words  # not without need: numba

    return hashes(*hash_words(picture.luma_small, COARSE, FINE))


group = SignalGroup(
    name="hash",
    version=3,
    schema=pa.schema([("phash", pa.uint64()), ("hash256", pa.binary(32))]),
    measure=measure,
)
