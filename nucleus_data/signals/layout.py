"""Signals of composed pictures: frames, captions below the picture, collages and tilings.

| column | range | view | meaning |
|---|---|---|---|
| border_left, _top, _right, _bottom | 0..0.5 | luma_full | width of a border over the side |
| seam_vertical, seam_horizontal | 0..1 | luma_full | straightest line from edge to edge |
| repetition | 0..1 | small | similarity of the picture with itself, shifted by a part of its side |

A border has two or more lines (rows or columns) of one luma, within 12 levels of the outermost
line's median; this holds for all but 3 % of a line's pixels, or all but 20 % for lines with text.
The first line is nearly uniform, and the last has no text. At three quarters of the border's width,
the median is still within 3 levels of the first line's; beyond, colour may have bled in, which JPEG
stores at half the resolution. A border ends sharply: within four lines (or 1/128 of all, if that is
more), over half of the pixels differ from its last line by more than 8 levels, or by more than 4 in
the same direction, or 40 % differ by 5 to 24 in the same direction. So a gradient of the sky, or an
object on white, is no border, except for a box on white that takes more than half of the line. Not
detected are a frame with the luma of its picture, and a frame with a pattern.

A seam's value is the share of pixels along one line, at least 4 % of the side from the edges and
from a border, at which luma jumps while both sides are flat. It is 1 for the middle of a collage,
and about 0.1 to 0.4 in photos. A horizon may be a horizontal seam; collages in a grid have both.

`repetition` is the correlation of the gradients of a 60x60 average with themselves, shifted by a
half, a third or a quarter of the width or height, and the largest of these; 1 for exact tilings.
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
_FAINT = 128.0  # half a level in the averages' units; below it, rounding of a smooth ramp repeats

Borders = tuple[float, float, float, float]


def borders(luma_HW: NDArray[np.uint8]) -> Borders:
    """Returns the widths of the left, top, right and bottom borders, as shares of the sides.

    Args:
        luma_HW: uint8[H, W].

    Returns:
        0 to 0.5 each; 0 if a side of the picture is below 64 pixels.
    """
    from nucleus_data.signals import lines  # imported here, as it imports numba

    if min(luma_HW.shape) < _SMALLEST:
        return 0.0, 0.0, 0.0, 0.0
    found: Borders = lines.borders(np.ascontiguousarray(luma_HW))
    return found


def seams(luma_HW: NDArray[np.uint8], taken: Borders = (0.0,) * 4) -> tuple[float, float]:
    """Returns the values of the strongest vertical and horizontal seams.

    Args:
        luma_HW: uint8[H, W].
        taken: Widths of the borders, from `borders`.

    Returns:
        Two shares, 0 to 1; 0 if a side is below 64 pixels.
    """
    from nucleus_data.signals import lines  # imported here, as it imports numba

    if min(luma_HW.shape) < _SMALLEST:
        return 0.0, 0.0
    left, top, right, bottom = (share + _EDGE for share in taken)
    found: tuple[float, float] = lines.seams(
        np.ascontiguousarray(luma_HW), left, top, right, bottom
    )
    return found


def repetition(luma_HW: NDArray[np.uint8]) -> float:
    """Returns how similar the picture is to itself, shifted by a half, a third or a quarter.

    Args:
        luma_HW: uint8[H, W].

    Returns:
        0 to 1; 0 for a picture of one colour.
    """
    from nucleus_data.signals import grid  # imported here, as it imports numba

    return float(grid.repetition(np.ascontiguousarray(luma_HW), _GRID, _FAINT))


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """Computes the columns of the table above for one picture."""
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
