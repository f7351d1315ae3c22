"""Periodic traces that enlarging a picture by interpolation leaves in its pixels, from luma_full.

| column | range | meaning |
|---|---|---|
| resampling | 0.. | strongest period of rows and columns, relative to usual; 0 if too small |

An interpolated pixel is smoother the farther it is from the pixels from which it was computed, and
this distance is periodic along a line: with a period of five pixels after enlarging by 5/4
(Gallagher 2005, "Detection of linear and cubic interpolation in JPEG compressed images"). Here,
absolute second differences, of at most `CAP` levels, are averaged over all rows, and over all
columns. Each average is divided by the usual value around it, and its Fourier transform by the
median of all frequencies. Both directions must have the frequency, so that a fence, stripes or
woven cloth are not mistaken for a trace. The borders of JPEG blocks also have a period, of eight
pixels, which is ignored; that of enlarged blocks counts.

Pictures from cameras or after downscaling have values of 2.5 to 7, whatever their softness;
enlarged by 1.25 to 3 and saved as PNG or JPEG of quality 92, they have 7 and more. JPEG of quality
80 or less hides the trace of enlarging by 1.4 or less. Enlarging by 2 or 4 from a file without
blocks leaves no trace. Downscaling by 0.7 to 0.95 leaves a trace if the result is stored without
loss.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_SMALLEST = 96  # pixels along the shorter side
_AROUND = 33  # window, in pixels, of the median that is the usual value
_STEADY = 0.5  # levels, added to all means to limit ratios of small values
_LOWEST = 0.06  # cycles per pixel; lower frequencies are those of the picture's content
_STEPS = 512  # number of frequency steps from 0 to 0.5 cycles per pixel

Floats = NDArray[np.float64]


def rhythm(means: Floats) -> Floats:
    """Returns the relative amplitude of each frequency in a line of means.

    Args:
        means: Means from `kernels.bends`, along a line.

    Returns:
        Amplitudes divided by their median, at `_STEPS` + 1 frequencies from 0 to 0.5 cycles per
        pixel; each is the maximum within one cycle per line length.
    """
    padded = np.pad(means + _STEADY, _AROUND // 2, mode="reflect")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, _AROUND), axis=1)
    ratios = np.clip(np.log((means + _STEADY) / usual), -0.5, 0.5)
    ratios = (ratios - ratios.mean()) * np.hanning(len(ratios))
    spectrum = np.abs(np.fft.rfft(ratios, max(2 * _STEPS, len(ratios))))
    own = np.linspace(0, 0.5, len(spectrum))
    median = float(np.median(spectrum[own > _LOWEST]))
    near = max(1, round(2 * len(spectrum) / len(ratios)))
    largest = np.lib.stride_tricks.sliding_window_view(
        np.pad(spectrum, near, mode="edge"), 2 * near + 1
    )
    wanted = np.linspace(0, 0.5, _STEPS + 1)
    # The floor is needed as rounding leaves tiny amplitudes even in a constant line.
    return np.interp(wanted, own, largest.max(axis=1) / max(median, 1e-6))


def resampling(luma_HW: NDArray[np.uint8]) -> float:
    """Returns the strongest relative amplitude that rows and columns have in common.

    Args:
        luma_HW: uint8[H, W].

    Returns:
        The amplitude as a multiple of the usual one; 0 if a side is below 96 pixels.
    """
    from nucleus_data.signals.kernels import BLOCK, bends  # imported here, as it imports numba

    if min(luma_HW.shape) < _SMALLEST:
        return 0.0
    across, down = bends(np.ascontiguousarray(luma_HW))
    shared = np.minimum(rhythm(across), rhythm(down))
    frequencies = np.linspace(0, 0.5, _STEPS + 1)
    wide = 3 / min(luma_HW.shape)
    counts = frequencies > _LOWEST
    for multiple in range(1, BLOCK // 2 + 1):
        counts &= np.abs(frequencies - multiple / BLOCK) > wide
    return float(shared[counts].max())


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """Computes the column of the table above for one picture."""
    return {"resampling": resampling(picture.luma_full)}


group = SignalGroup(
    name="resampling",
    version=2,
    schema=pa.schema([("resampling", pa.float32())]),
    measure=measure,
)
