"""Sample tiles of a picture at its own scale: a fixed cost, however large the picture."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.fourier import tile_power

TILE = 64
TILES_A_SIDE = 4


class Spectra(NamedTuple):
    """Power spectra of sample tiles.

    Attributes:
        power_NHF: Squared magnitudes of half a spectrum a tile, in levels^2 a pixel; frequencies in
            the order of `np.fft.rfft2`.
        width: Pixels along a tile's row.
    """

    power_NHF: NDArray[np.float32]
    width: int


def sample_tiles(luma_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Up to 4x4 tiles of 64x64 pixels, evenly spread, not overlapping.

    Args:
        luma_HW: Any size; a side below 64 pixels makes the tiles' side as short.

    Returns:
        N x (up to 64) x (up to 64), row by row.
    """
    height, width = (min(TILE, side) for side in luma_HW.shape)
    return np.array(
        [
            luma_HW[top : top + height, left : left + width]
            for top in _starts(luma_HW.shape[0])
            for left in _starts(luma_HW.shape[1])
        ]
    )


def _starts(side: int) -> list[int]:
    count = max(1, min(TILES_A_SIDE, side // TILE))
    room = max(0, side - TILE)
    return [room * i // (count - 1) for i in range(count)] if count > 1 else [room // 2]


def spectra(tiles_NHW: NDArray[np.uint8]) -> Spectra:
    """The power spectra of tiles, less their means, under a Hann window.

    Args:
        tiles_NHW: As of `sample_tiles`.
    """
    _, height, width = tiles_NHW.shape
    if (height, width) == (TILE, TILE):
        power_NHF: NDArray[np.float32] = tile_power(tiles_NHW) / np.float32(height * width)
        return Spectra(power_NHF, width)
    levels_NHW = tiles_NHW - tiles_NHW.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    found = np.fft.rfft2(levels_NHW * _window(height, width))
    power = (found.real**2 + found.imag**2) / (height * width)
    return Spectra(power.astype(np.float32), width)


@lru_cache(maxsize=16)
def _window(height: int, width: int) -> NDArray[np.float32]:
    hann_y = np.sin(np.pi * (np.arange(height) + 0.5) / height) ** 2
    hann_x = np.sin(np.pi * (np.arange(width) + 0.5) / width) ** 2
    return (hann_y[:, None] * hann_x).astype(np.float32)


def tiles_of(picture: Picture) -> NDArray[np.uint8]:
    """A picture's sample tiles; through `Picture.once`, groups share them."""
    return sample_tiles(picture.luma_full)


def spectra_of(picture: Picture) -> Spectra:
    """The spectra of a picture's sample tiles, likewise."""
    return spectra(picture.once(tiles_of))
