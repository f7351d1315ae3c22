"""Frames, captions below, collages and tilings: what was put together after the picture was taken.

| column | range | view | meaning |
|---|---|---|---|
| border_left, _top, _right, _bottom | 0..0.5 | luma_full | share of the side that a border takes |
| seam_vertical, seam_horizontal | 0..1 | luma_full | straightest line from edge to edge |
| repetition | 0..1 | small | likeness of the picture to itself, moved by a part of its side |

A border is made of two or more lines (rows or columns) in one luma, within 12 levels of the
outermost line's median: all but 3 % of a line's pixels, or 20 % of them where text stands on it;
the first line is nearly still, and the last has no text. Three quarters along, the median is still
the first line's within 3 levels: later, colour may have bled in, which JPEG stores at half the
scale. It ends sharply: within four lines (or 1/128 of all, if that is more) over half of the pixels
have changed from its last line by more than 8 levels, or by more than 4 to the same side; or 40 %
by 5 to 24 to the same side. So a sky that fades, or a thing on white, has no border; only a box on
white that takes more than half of the line has. What is not seen: a frame in the luma of its
picture, and one with a pattern.

A seam's value is the share of pixels along one line, at least 4 % of the side from the edges and
from a border, that jump there while both sides are flat; 1 for the middle of a collage, about 0.1
to 0.4 in photos. A horizon may be a horizontal seam; collages of a grid have both.

`repetition` is the correlation of the gradients of a 60x60 average with themselves, moved by a
half, a third or a quarter of the width or height: 1 for exact tilings; the largest of all.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_EDGE = 0.04
_SMALLEST = 64  # pixels: pictures with a shorter side have neither borders nor seams
_GRID = 60
_FAINT = 128.0  # half a level, in the averages' steps: rounding of a smooth ramp repeats too

Borders = tuple[float, float, float, float]


def borders(luma_HW: NDArray[np.uint8]) -> Borders:
    """The shares of the sides that borders take: left, top, right, bottom.

    Args:
        luma_HW: 0..255.

    Returns:
        0 to 0.5 each; 0 if a side of the picture is below 64 pixels.
    """
    from nucleus_data.signals import lines  # not without need: numba

    if min(luma_HW.shape) < _SMALLEST:
        return 0.0, 0.0, 0.0, 0.0
    found: Borders = lines.borders(np.ascontiguousarray(luma_HW))
    return found


def seams(luma_HW: NDArray[np.uint8], taken: Borders = (0.0,) * 4) -> tuple[float, float]:
    """The straightest vertical and horizontal lines.

    Args:
        luma_HW: 0..255.
        taken: Shares of the sides that borders take: left, top, right, bottom.

    Returns:
        Two shares, 0 to 1; 0 if a side is below 64 pixels.
    """
    from nucleus_data.signals import lines  # not without need: numba

    if min(luma_HW.shape) < _SMALLEST:
        return 0.0, 0.0
    left, top, right, bottom = (share + _EDGE for share in taken)
    found: tuple[float, float] = lines.seams(
        np.ascontiguousarray(luma_HW), left, top, right, bottom
    )
    return found


def repetition(luma_HW: NDArray[np.uint8]) -> float:
    """How much the picture repeats itself after a half, a third or a quarter of a side.

    Args:
        luma_HW: 0..255.

    Returns:
        0..1; 0 for one colour.
    """
    from nucleus_data.signals import grid  # not without need: numba

    return float(grid.repetition(np.ascontiguousarray(luma_HW), _GRID, _FAINT))


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    luma = picture.luma_full
    left, top, right, bottom = taken = borders(luma)
    vertical, horizontal = seams(luma, taken)
    return {
        "border_left": left,
        "border_top": top,
        "border_right": right,
        "border_bottom": bottom,
        "seam_vertical": vertical,
        "seam_horizontal": horizontal,
        "repetition": repetition(picture.luma_small),
    }


group = SignalGroup(
    name="layout",
    version=6,
    schema=pa.schema(
        [
            ("border_left", pa.float32()),
            ("border_top", pa.float32()),
            ("border_right", pa.float32()),
            ("border_bottom", pa.float32()),
            ("seam_vertical", pa.float32()),
            ("seam_horizontal", pa.float32()),
            ("repetition", pa.float32()),
        ]
    ),
    measure=measure,
)
