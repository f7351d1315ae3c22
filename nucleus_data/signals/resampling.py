"""Traces of enlarging: a rhythm that interpolation leaves in the pixels, from luma_full.

| column | range | meaning |
|---|---|---|
| resampling | 0.. | strongest rhythm of rows and columns over the usual; 0: too small to say |

An interpolated pixel is smoother the farther it lies from those that it was made of, and that
distance repeats along a line: enlarged by 5/4, every five pixels (Gallagher 2005, "Detection of
linear and cubic interpolation in JPEG compressed images"). Here |second differences|, of at most
`CAP` levels, are averaged over all rows, and over all columns; each average is taken over what is
usual around it, and its Fourier transform over the median of all frequencies. Both directions must
have the frequency, so that a fence, stripes or a woven cloth are not taken for a trace. The borders
of JPEG's blocks have a rhythm too, of eight pixels, which does not count; that of blocks which were
enlarged does.

Pictures as cameras and downscaling leave them have 2.5 to 7, whatever their softness; enlarged by
1.25 to 3 and saved as PNG or JPEG of 92, 7 and more. A JPEG of 80 or below hides what an
enlargement by 1.4 and less leaves. Enlarged by 2 or 4 from a file without blocks leaves none. A
downscale by 0.7 to 0.95 that was stored without loss has a trace as well.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_SMALLEST = 96  # pixels along the shorter side
_AROUND = 33  # pixels that say what is usual around one
_STEADY = 0.5  # levels
_LOWEST = 0.06  # cycles a pixel; below it is what the picture shows
_STEPS = 512  # frequencies from 0 to half a cycle a pixel

Floats = NDArray[np.float64]


def rhythm(means: Floats) -> Floats:
    """How much each frequency stands out in a line of means.

    Args:
        means: From `kernels.bends`.

    Returns:
        Amplitudes over their median, at `_STEPS` + 1 frequencies from 0 to 0.5 cycles a pixel; each
        is the largest within a cycle of the whole line.
    """
    padded = np.pad(means + _STEADY, _AROUND // 2, mode="reflect")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, _AROUND), axis=1)
    ratios = np.clip(np.log((means + _STEADY) / usual), -0.5, 0.5)
    ratios = (ratios - ratios.mean()) * np.hanning(len(ratios))
    found = np.abs(np.fft.rfft(ratios, max(2 * _STEPS, len(ratios))))
    own = np.linspace(0, 0.5, len(found))
    median = float(np.median(found[own > _LOWEST]))
    near = max(1, round(2 * len(found) / len(ratios)))
    largest = np.lib.stride_tricks.sliding_window_view(
        np.pad(found, near, mode="edge"), 2 * near + 1
    )
    wanted = np.linspace(0, 0.5, _STEPS + 1)
    # Rounding leaves something even of a line without any change.
    return np.interp(wanted, own, largest.max(axis=1) / max(median, 1e-6))


def resampling(luma_HW: NDArray[np.uint8]) -> float:
    """The strongest rhythm that rows and columns share.

    Args:
        luma_HW: 0..255.

    Returns:
        Times the usual amplitude; 0 if a side is below 96 pixels.
    """
    from nucleus_data.signals.kernels import BLOCK, bends  # not without need: numba

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
    """The column of the table above, for one picture."""
    return {"resampling": resampling(picture.luma_full)}


group = SignalGroup(
    name="resampling",
    version=2,
    schema=pa.schema([("resampling", pa.float32())]),
    measure=measure,
)
