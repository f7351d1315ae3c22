"""Sharpness, from luma at the full size (a scaled view would hide the blur).

`laplacian_variance` (0 to 1,040,400): variance of the 4-neighbour Laplacian over the inner pixels
(Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy"); what
`cv2.Laplacian(luma, CV_64F).var()` gives, but for the border. 0 for one colour; blur
lowers it, and so does enlarging.

`high_frequency_share` (0 to 1): share of the spectral power, without the mean, above 0.25 cycles a
pixel (half the Nyquist frequency). White noise has 0.80; blurred or enlarged pictures almost none.

The spectrum is that of up to 4x4 tiles of 64x64 pixels, evenly spread, each windowed (Hann), their
powers added up: so the pixels' own scale is kept, however large the picture, at a fixed cost.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_STRIP_PIXELS = 1 << 16  # a strip's arrays stay in the processor's cache
_TILE = 64
_TILES_A_SIDE = 4
_HIGH = 0.25  # cycles a pixel


def laplacian_variance(luma_HW: NDArray[np.uint8]) -> float:
    """Variance of L[y,x] = I[y-1,x] + I[y+1,x] + I[y,x-1] + I[y,x+1] - 4 I[y,x], for inner pixels.

    Sums are exact (integers below 2^53), so the order of additions does not matter.

    Args:
        luma_HW: 0..255.

    Returns:
        The variance; 0 for pictures without inner pixels.
    """
    height, width = luma_HW.shape
    if height < 3 or width < 3:
        return 0.0
    rows = max(1, _STRIP_PIXELS // width)
    total = squares = 0
    for top in range(1, height - 1, rows):
        bottom = min(top + rows, height - 1)
        strip = luma_HW[top - 1 : bottom + 1].astype(np.int16)
        lap = strip[:-2, 1:-1] + strip[2:, 1:-1]
        lap += strip[1:-1, :-2]
        lap += strip[1:-1, 2:]
        lap -= 4 * strip[1:-1, 1:-1]
        values = lap.astype(np.float64).reshape(-1)
        total += int(values.sum())
        squares += int(values @ values)
    n = (height - 2) * (width - 2)
    return (n * squares - total * total) / (n * n)


def high_frequency_share(luma_HW: NDArray[np.uint8]) -> float:
    """Share of spectral power above 0.25 cycles a pixel, over sample tiles.

    Args:
        luma_HW: 0..255.

    Returns:
        0..1; 0 for a picture of one colour.
    """
    height, width = (min(_TILE, side) for side in luma_HW.shape)
    tiles_NHW = np.stack(
        [
            luma_HW[top : top + height, left : left + width]
            for top in _starts(luma_HW.shape[0])
            for left in _starts(luma_HW.shape[1])
        ]
    ).astype(np.float64)
    tiles_NHW -= tiles_NHW.mean(axis=(1, 2), keepdims=True)
    window, weights = _window(height, width)
    spectrum = np.fft.rfft2(tiles_NHW * window)
    power_HF = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    power = float((power_HF * weights[0]).sum())
    return float((power_HF * weights[1]).sum()) / power if power > 1e-6 else 0.0


def _starts(side: int) -> list[int]:
    """First pixels of the tiles along one side, evenly spread, not overlapping."""
    count = max(1, min(_TILES_A_SIDE, side // _TILE))
    room = max(0, side - _TILE)
    return [room * i // (count - 1) for i in range(count)] if count > 1 else [room // 2]


@lru_cache(maxsize=16)
def _window(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The Hann window, HxW, and the weights of all and of high frequencies, 2xHx(W//2+1).

    Half a spectrum holds every column but the first (and the last, of an even width) for its mirror
    image too. The mean is left out.
    """
    hann_y = np.sin(np.pi * (np.arange(height) + 0.5) / height) ** 2
    hann_x = np.sin(np.pi * (np.arange(width) + 0.5) / width) ** 2
    frequency_y = np.fft.fftfreq(height)[:, None]
    frequency_x = np.fft.rfftfreq(width)[None, :]
    twice = np.full(width // 2 + 1, 2.0)
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    everything = np.broadcast_to(twice, (height, width // 2 + 1)).copy()
    everything[0, 0] = 0.0
    high = everything * (np.hypot(frequency_y, frequency_x) > _HIGH)
    return hann_y[:, None] * hann_x, np.stack([everything, high])


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    return {
        "laplacian_variance": laplacian_variance(picture.luma_full),
        "high_frequency_share": high_frequency_share(picture.luma_full),
    }


group = SignalGroup(
    name="detail",
    version=1,
    schema=pa.schema(
        [("laplacian_variance", pa.float32()), ("high_frequency_share", pa.float32())]
    ),
    measure=measure,
)
