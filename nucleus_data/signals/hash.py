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

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup
from nucleus_data.signals.kernels import cell_sums

_FINE = 64
_PIXEL_SCALE = 256  # averages are kept in steps of 1/256 of a luma level
_DCT_SCALE = 4096  # and DCT coefficients' factors in steps of 1/4096

Floats = NDArray[np.float64]


def area_average(luma_HW: NDArray[np.uint8], side: int) -> Floats:
    """Averages a picture over a grid of equal cells, counting split pixels by their parts.

    Args:
        luma_HW: 0..255.
        side: Cells along each side.

    Returns:
        side x side integers in steps of 1/256 luma level; of smaller pictures, pixels are repeated.
    """
    height, width = luma_HW.shape
    sums = cell_sums(np.ascontiguousarray(luma_HW), side)
    return np.rint(sums * _PIXEL_SCALE / (height * width))


@lru_cache(maxsize=4)
def _dct(side: int, kept: int) -> Floats:
    """The first rows of the orthonormal DCT-II matrix, kept x side, in integers of 1/4096."""
    k = np.arange(kept)[:, None]
    n = np.arange(side)[None, :]
    matrix = np.sqrt(2 / side) * np.cos(np.pi * k * (2 * n + 1) / (2 * side))
    matrix[0] = np.sqrt(1 / side)
    return np.rint(matrix * _DCT_SCALE)


def dct_block(pixels_SS: Floats, kept: int) -> Floats:
    """The lowest frequencies of a square of averages.

    Args:
        pixels_SS: From `area_average`.
        kept: Frequencies along each side.

    Returns:
        kept x kept integers: rows down, columns across.
    """
    rows = _dct(pixels_SS.shape[0], kept)
    return rows @ pixels_SS @ rows.T


def bits(block_KK: Floats) -> NDArray[np.bool_]:
    """The hash bits of a block of frequencies, K * K of them, row by row."""
    coefficients = block_KK.reshape(-1)
    median = np.sort(coefficients[1:])[len(coefficients) // 2 - 1]  # of an odd number
    return coefficients > median


def dct_bits(pixels_SS: Floats, kept: int) -> NDArray[np.bool_]:
    """The hash bits of a square of averages, kept * kept of them, row by row."""
    return bits(dct_block(pixels_SS, kept))


def dct_blocks(luma_HW: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """The 8x8 block of `phash` and the 16x16 block of `hash256`.

    Args:
        luma_HW: 0..255.
    """
    fine = area_average(luma_HW, _FINE)
    half = _FINE // 2
    coarse = fine.reshape(half, 2, half, 2).sum(axis=(1, 3))  # four times the average: same bits
    return dct_block(coarse, 8), dct_block(fine, 16)


def hashes(block_8: Floats, block_16: Floats) -> dict[str, Any]:
    """The columns of the table above, from the blocks of `dct_blocks`."""
    return {
        "phash": int.from_bytes(np.packbits(bits(block_8)).tobytes(), "big"),
        "hash256": np.packbits(bits(block_16)).tobytes(),
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
