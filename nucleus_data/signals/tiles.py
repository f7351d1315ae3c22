"""Sample tiles of a picture at its own scale: a fixed cost, however large the picture."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.fourier import SIDE, tile_power

TILES_A_SIDE = 4


class Spectra(NamedTuple):
    """Power spectra of sample tiles.

    Attributes:
        power_NFY: Squared magnitudes of half a spectrum a tile, in levels^2 a pixel: frequencies
            across (the half), then down, in the order of `np.fft.rfft2`.
        width: Pixels along a tile's row.
    """

    power_NFY: NDArray[np.float32]
    width: int


@njit(nogil=True, cache=True)
def starts(length: int, side: int, most: int) -> NDArray[np.int64]:
    """Where up to so many stretches begin that lie evenly spread along a line."""
    count, room = max(1, min(most, length // side)), max(0, length - side)
    found = np.full(count, room // 2)
    for i in range(count if count > 1 else 0):
        found[i] = room * i // (count - 1)
    return found


@njit(nogil=True, cache=True)
def sample_tiles(luma_HW: NDArray[np.uint8], side: int, most: int) -> NDArray[np.uint8]:
    """Square tiles, evenly spread, not overlapping.

    Args:
        luma_HW: Any size; a shorter side makes the tiles' side as short.
        side: Pixels along a tile's sides.
        most: Tiles along a side of the picture.

    Returns:
        Down x across x side x side.
    """
    tops, lefts = starts(luma_HW.shape[0], side, most), starts(luma_HW.shape[1], side, most)
    height, width = min(side, luma_HW.shape[0]), min(side, luma_HW.shape[1])
    tiles = np.empty((len(tops), len(lefts), height, width), np.uint8)
    for i in range(len(tops)):
        for j in range(len(lefts)):
            for y in range(height):
                row, tile = luma_HW[tops[i] + y, lefts[j] :], tiles[i, j, y]
                for x in range(width):
                    tile[x] = row[x]
    return tiles


def spectra(tiles_NHW: NDArray[np.uint8]) -> Spectra:
    """The power spectra of tiles, less their means, under a Hann window.

    Args:
        tiles_NHW: Up to 64 x 64 pixels each.
    """
    _, height, width = tiles_NHW.shape
    if (height, width) == (SIDE, SIDE):
        return Spectra(tile_power(tiles_NHW), width)
    levels_NHW = tiles_NHW - tiles_NHW.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    found = np.fft.rfft2(levels_NHW * _window(height, width))
    power = (found.real**2 + found.imag**2) / (height * width)
    return Spectra(np.ascontiguousarray(power.swapaxes(1, 2), np.float32), width)


@lru_cache(maxsize=16)
def _window(height: int, width: int) -> NDArray[np.float32]:
    hann_y = np.sin(np.pi * (np.arange(height) + 0.5) / height) ** 2
    hann_x = np.sin(np.pi * (np.arange(width) + 0.5) / width) ** 2
    return (hann_y[:, None] * hann_x).astype(np.float32)


def spectra_of(picture: Picture) -> Spectra:
    """The spectra of up to 4x4 tiles of a picture; through `Picture.once`, groups share them."""
    tiles_DAYX = sample_tiles(picture.luma_full, SIDE, TILES_A_SIDE)
    return spectra(tiles_DAYX.reshape(-1, *tiles_DAYX.shape[2:]))
