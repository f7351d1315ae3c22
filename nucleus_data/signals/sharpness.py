"""Sharpness that depends on neither size nor contrast, and signs of enlarging, from luma_full.

| column | range | meaning |
|---|---|---|
| edge_width | 1.. pixels | width of the sharpest strong edges; null where there are none |
| upscaling | 0..60 dB | how much less high frequency there is than in a natural picture |

`edge_width`: the picture is cut into blocks of about 32 x 32. Where an edge crosses a block, its
width is the block's range over its steepest step (after Marziliano et al. 2002, "A no-reference
perceptual blur metric", which measures it edge by edge). Of the blocks whose range is 28 levels or
more, and half of the 95th percentile, the sharpest tenth counts: what is in focus decides, as a
shallow depth of field is no fault. Edges wider than 8 pixels leave their block: then the picture is
halved and measured again. A hard edge has 1, one under a Gaussian blur of sigma s about 2.5 s, in
the picture's own pixels, whatever its size; over its longer side it says how the picture looks when
scaled to a fixed size. Strong compression makes edges of its own: of a blurred picture it may take
some pixels off. Sharp photos of 1024 pixels have 1.1 to 3.4, the same enlarged twice 1.6 to 3.8,
four times 3.2 to 5.3.

`upscaling`: natural spectra fall with 1/f^2 (Field 1987, "Relations between the statistics of
natural images"); this is how far, in decibels, the power above 0.33 cycles a pixel (of the larger
of both frequencies) falls short of what that between 0.06 and 0.2 foretells, in those four of the
sample tiles that have most of the latter. A suspicion, no proof: of one photo the enlarged copy is
above the original in 95 of 100 cases, but sharp photos have 0 to 21, and those enlarged twice 10 to
24: noise and JPEG's own errors fill the gap. A wide blur leaves nothing but those, and gets 0. 0
where there is nothing to compare.
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
_EDGE = 28  # levels: a lower range is texture or noise
_WIDE = 8  # pixels; wider edges leave their block, and are measured at half the scale
_STRONG = 0.5  # of the 95th percentile of ranges
_FLOOR = 1e-3  # levels^2 of windowed power a pixel; below it a band is empty
_MOST = 60.0  # decibels


def edge_width(luma_HW: NDArray[np.uint8]) -> float | None:
    """Width of the sharpest strong edges.

    Args:
        luma_HW: 0..255.

    Returns:
        1 pixel or more; None if no block has a range of 28 levels at any scale, or a side is below
        2 pixels.
    """
    from nucleus_data.signals.kernels import halved, width_of_blocks  # not without need: numba

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
    """How far the high frequencies fall short of a natural picture's.

    Returns:
        0..60 decibels.
    """
    if found.natural < _FLOOR:
        return 0.0
    return min(_MOST, max(0.0, 10 * math.log10(found.natural / max(found.highest, 1e-9))))


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    from nucleus_data.signals.bands import bands_of  # not without need: numba

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
