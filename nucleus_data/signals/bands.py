"""How much of a picture's power lies in which frequencies, at its own scale.

Measured in up to 4x4 tiles of 64x64 pixels, evenly spread, each less its mean and under a Hann
window: a fixed cost, however large the picture.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.fourier import SIDE, tile_power
from nucleus_data.signals.tiles import sample_tiles

Floats = NDArray[np.float32]

_TILES_A_SIDE = 4
_HIGH = 0.25  # cycles a pixel: half the Nyquist frequency
# Of the larger of both frequencies:
_MIDDLE = (0.06, 0.2)
_HIGHEST = 0.33
_DETAILED = 4


class Bands(NamedTuple):
    """Power, in levels^2 a pixel.

    Attributes:
        everything: Power of all frequencies but the mean, added up over the tiles.
        high: Power of the frequencies above 0.25 cycles a pixel.
        middle: Mean power of a frequency between 0.06 and 0.2 (of the larger one across and down),
            in the four tiles that have most of it.
        highest: Mean power of a frequency of 0.33 and more, in the same tiles.
        natural: What `highest` would be if power fell with 1/f^2; 0 in tiles so small that one of
            the bands is empty.
    """

    everything: float
    high: float
    middle: float
    highest: float
    natural: float


@lru_cache(maxsize=16)
def _weights(height: int, width: int) -> tuple[Floats, float]:
    """Weights that give `Bands` from half a spectrum, 4 x ((W//2 + 1) * H), and the natural fall.

    Half a spectrum holds every column but the first (and the last, of an even width) for its mirror
    image too.
    """
    frequency_y = np.abs(np.fft.fftfreq(height))[None, :]
    frequency_x = np.abs(np.fft.rfftfreq(width))[:, None]
    twice = np.full((width // 2 + 1, 1), 2.0)
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    everything = np.repeat(twice, height, axis=1)
    everything[0, 0] = 0.0
    high = everything * (np.hypot(frequency_y, frequency_x) > _HIGH)
    larger = np.maximum(frequency_y, frequency_x)
    middle = (larger >= _MIDDLE[0]) & (larger <= _MIDDLE[1])
    highest = larger >= _HIGHEST
    means = [band / max(1, np.count_nonzero(band)) for band in (middle, highest)]
    fall = 0.0
    if middle.any() and highest.any():
        natural = 1 / np.maximum(frequency_y**2 + frequency_x**2, 1e-9)
        fall = float(natural[highest].mean() / natural[middle].mean())
    weights = np.stack([everything, high, *means]).reshape(4, -1)
    return weights.astype(np.float32), fall


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _product(one: Floats, other: Floats) -> np.float32:
    total = np.float32(0)
    for i in range(len(one)):
        total += one[i] * other[i]
    return total


@njit(nogil=True, cache=True)
def summed(power_NFY: Floats, weights_4P: Floats) -> tuple[float, float, float, float]:
    """The first four fields of `Bands`, from spectra as `tile_power` gives them."""
    count = len(power_NFY)
    everything = high = 0.0
    middle, highest = np.empty(count, np.float64), np.empty(count, np.float64)
    for tile in range(count):
        power = power_NFY[tile].reshape(-1)
        everything += _product(power, weights_4P[0])
        high += _product(power, weights_4P[1])
        middle[tile] = _product(power, weights_4P[2])
        highest[tile] = _product(power, weights_4P[3])
    most = np.argsort(middle)[-_DETAILED:]
    return everything, high, middle[most].mean(), highest[most].mean()


@njit(nogil=True, cache=True)
def _of_whole_tiles(
    luma_HW: NDArray[np.uint8], weights_4P: Floats
) -> tuple[float, float, float, float]:
    tiles_DAYX = sample_tiles(luma_HW, SIDE, _TILES_A_SIDE)
    return summed(tile_power(tiles_DAYX.reshape(-1, SIDE, SIDE)), weights_4P)


def spectra(tiles_NYX: NDArray[np.uint8]) -> Floats:
    """The same as `tile_power`, of tiles of any size.

    Args:
        tiles_NYX: 0..255.

    Returns:
        N x (X//2 + 1) x Y.
    """
    _, height, width = tiles_NYX.shape
    levels_NYX = tiles_NYX - tiles_NYX.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    found = np.fft.rfft2(levels_NYX * _window(height, width))
    power = (found.real**2 + found.imag**2) / (height * width)
    return np.ascontiguousarray(power.swapaxes(1, 2), np.float32)


@lru_cache(maxsize=16)
def _window(height: int, width: int) -> Floats:
    hann_y = np.sin(np.pi * (np.arange(height) + 0.5) / height) ** 2
    hann_x = np.sin(np.pi * (np.arange(width) + 0.5) / width) ** 2
    return (hann_y[:, None] * hann_x).astype(np.float32)


def bands(luma_HW: NDArray[np.uint8]) -> Bands:
    """The bands of a luma plane.

    Args:
        luma_HW: 0..255; a side below 64 pixels makes the tiles' side as short.
    """
    height, width = min(SIDE, luma_HW.shape[0]), min(SIDE, luma_HW.shape[1])
    weights_4P, fall = _weights(height, width)
    luma_HW = np.ascontiguousarray(luma_HW)
    found: tuple[float, float, float, float]
    if height == width == SIDE:
        found = _of_whole_tiles(luma_HW, weights_4P)
    else:
        tiles_DAYX = sample_tiles(luma_HW, SIDE, _TILES_A_SIDE)
        found = summed(spectra(tiles_DAYX.reshape(-1, height, width)), weights_4P)
    everything, high, middle, highest = found
    return Bands(everything, high, middle, highest, natural=fall * middle)


def bands_of(picture: Picture) -> Bands:
    """The bands of a picture's luma; through `Picture.once`, groups share them."""
    return bands(picture.luma_full)
