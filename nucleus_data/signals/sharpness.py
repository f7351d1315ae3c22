"""Sharpness independent of size and contrast, and signs of enlarging, from luma_full.

| column | range | meaning |
|---|---|---|
| edge_width | 1.. pixels | width of the sharpest strong edges; null where there are none |
| upscaling | 0..60 dB | lack of high-frequency power compared to a natural picture |

`edge_width`: the picture is divided into blocks of about 32 x 32 pixels. If an edge crosses a
block, its width is the block's range over its steepest step (after Marziliano et al. 2002, "A
no-reference perceptual blur metric", which measures each edge). Of the blocks whose range is at
least 28 levels, and at least half of the 95th percentile, the sharpest tenth counts: the part in
focus decides, as a shallow depth of field is no fault. Edges wider than 8 pixels exceed their
block; then the picture is halved and measured again. A hard edge has a width of 1, and one under a
Gaussian blur of sigma s about 2.5 s, in pixels of the picture, whatever its size. Divided by the
longer side, the width tells how sharp the picture looks when scaled to a fixed size. Strong
compression adds edges of its own, which may reduce the value of a blurred picture by some pixels.
Sharp photos of 1024 pixels have 1.1 to 3.4; enlarged twice, 1.6 to 3.8; four times, 3.2 to 5.3.

`upscaling`: natural power spectra fall with 1/f^2 (Field 1987, "Relations between the statistics of
natural images"). The value is the difference, in decibels, between the power above 0.33 cycles per
pixel (of the larger of both frequencies) and the power that is predicted from that between 0.06 and
0.2, in the four sample tiles with most of the latter. It is a hint and no proof: for one photo, the
enlarged copy is above the original in 95 of 100 cases, but sharp photos have 0 to 21, and those
enlarged twice 10 to 24, as noise and JPEG's errors fill the gap. A wide blur leaves only these, and
gets 0, as does a picture in which there is nothing to compare.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

if TYPE_CHECKING:
    from nucleus_data.signals.bands import Bands

_BLOCK = 32
_EDGE = 28  # levels; a smaller range is texture or noise
_WIDE = 8  # pixels; wider edges exceed their block, and are measured at half the scale
_STRONG = 0.5  # minimum range, as a share of the 95th percentile of ranges
_FLOOR = 1e-3  # levels^2 of windowed power per pixel; below it, a band is empty
_MOST = 60.0  # maximum of `upscaling`, in decibels


def edge_width(luma_HW: NDArray[np.uint8]) -> float | None:
    """Returns the width of the sharpest strong edges, in pixels.

    Args:
        luma_HW: uint8[H, W].

    Returns:
        1 or more; None if no block has a range of 28 levels at any scale, or a side is below 2
        pixels.
    """
    from nucleus_data.signals.kernels import halved, width_of_blocks  # here: imports numba

    luma_HW = np.ascontiguousarray(luma_HW)
    scale, width = 1, None
    while min(luma_HW.shape) >= 2:
        found = width_of_blocks(luma_HW, _BLOCK, _EDGE, _STRONG)
        if found:
            width = found * scale
        if 0 < found <= _WIDE or min(luma_HW.shape) < 2 * _BLOCK:
            break
        luma_HW, scale = halved(luma_HW), 2 * scale
    return width


def upscaling(found: "Bands") -> float:
    """Returns the lack of high-frequency power compared to a natural picture, 0 to 60 decibels."""
    if found.natural < _FLOOR:
        return 0.0
    return min(_MOST, max(0.0, 10 * math.log10(found.natural / max(found.highest, 1e-9))))


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """Computes the columns of the table above for one picture."""
    from nucleus_data.signals.bands import bands_of  # imported here, as it imports numba

    return {
        "edge_width": edge_width(picture.luma_full),
        "upscaling": upscaling(picture.once(bands_of)),
    }


group = SignalGroup(
    name="sharpness",
    version=4,
    schema=pa.schema([("edge_width", pa.float32()), ("upscaling", pa.float32())]),
    measure=measure,
)
