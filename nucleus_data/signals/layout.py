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
scale. It ends sharply: within four lines (or 1/128 of all, if that is more) fewer than half of the
pixels are within 8 levels. So a sky that fades, or a thing on white, has no border; only a box on
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
from nucleus_data.signals.hash import area_average
from nucleus_data.signals.kernels import border_lines, likeness, median_level, seam_counts

SIDES = ("left", "top", "right", "bottom")
_NEAR = 12  # levels from the border's own luma: what JPEG leaves around text
_STILL, _MOSTLY = 4, 0.85  # most of the outermost line is nearer: a texture is not
# What lies beyond may be almost as light: for half of the pixels, levels of change; or, if it is
# darker (or lighter) for half, fewer.
_FAR, _SHIFT = 8, 4
_ENDED = 0.5
_DRIFT = 3  # levels from the first line on: more is a fading ground
_LINES = 2  # one line alone may be a resampling's edge
_PLAIN = 0.97
_WITH_TEXT = 0.2
_BEYOND = 4  # lines that the end of a border may take, by scaling or by JPEG; or a part of all
_BEYOND_PART = 128
_EDGE = 0.04
_SMALLEST = 64  # pixels: pictures with a shorter side have neither borders nor seams
_GRID = 60
_PARTS = (2, 3, 4)
_FAINT = 128.0  # half a level, in the averages' steps: rounding of a smooth ramp repeats too


def border(luma_HW: NDArray[np.uint8], side: int) -> float:
    """The share of lines that are a border, from one side on.

    Args:
        luma_HW: 0..255.
        side: A number into `SIDES`.

    Returns:
        0 to 0.5; 0 if a side of the picture is below 64 pixels.
    """
    if min(luma_HW.shape) < _SMALLEST:
        return 0.0
    lines_LP = (luma_HW.T, luma_HW, luma_HW.T[::-1], luma_HW[::-1])[side]
    count = len(lines_LP)
    level = median_level(np.ascontiguousarray(lines_LP[0]))

    def share(line: int, levels: int) -> float:
        pixels = lines_LP[line]
        near = (pixels >= max(0, level - levels)) & (pixels <= min(255, level + levels))
        return float(np.count_nonzero(near) / len(pixels))

    if share(0, _STILL) < _MOSTLY or share(0, _NEAR) < _PLAIN:
        return 0.0
    low, high = level - _NEAR, level + _NEAR
    luma_HW = np.ascontiguousarray(luma_HW)
    plain = int(border_lines(luma_HW, side, low, high, _WITH_TEXT, _PLAIN))
    if plain < _LINES:
        return 0.0
    later = median_level(np.ascontiguousarray(lines_LP[(plain - 1) * 3 // 4]))
    if abs(later - level) > _DRIFT:
        return 0.0
    last = lines_LP[plain - 1].astype(np.int16)
    for line in range(plain, min(plain + max(_BEYOND, count // _BEYOND_PART), count)):
        # From pixels to those beside them: what changes along a line does not end a border.
        change = lines_LP[line] - last
        kinds = (np.abs(change) > _FAR, change > _SHIFT, change < -_SHIFT)
        if max(map(np.count_nonzero, kinds)) > _ENDED * len(last):
            return plain / count
    return 0.0


def seams(
    luma_HW: NDArray[np.uint8], borders: tuple[float, float, float, float] = (0.0,) * 4
) -> tuple[float, float]:
    """The straightest vertical and horizontal lines.

    Args:
        luma_HW: 0..255.
        borders: Shares of the sides that borders take: left, top, right, bottom.

    Returns:
        Two shares, 0 to 1; 0 if a side is below 64 pixels.
    """
    height, width = luma_HW.shape
    if min(height, width) < _SMALLEST:
        return 0.0, 0.0
    columns, rows = np.zeros(width, np.int64), np.zeros(height, np.int64)
    seam_counts(np.ascontiguousarray(luma_HW), columns, rows)
    left, top, right, bottom = (share + _EDGE for share in borders)
    return (
        float(columns[int(left * width) : int((1 - right) * width)].max(initial=0) / height),
        float(rows[int(top * height) : int((1 - bottom) * height)].max(initial=0) / width),
    )


def repetition(luma_HW: NDArray[np.uint8]) -> float:
    """How much the picture repeats itself after a half, a third or a quarter of a side.

    Args:
        luma_HW: 0..255.

    Returns:
        0..1; 0 for one colour.
    """
    grid = area_average(luma_HW, _GRID)
    return max(
        0.0,
        *(
            likeness(lines, _GRID // parts, _FAINT)
            for lines in (grid, np.ascontiguousarray(grid.T))
            for parts in _PARTS
        ),
    )


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    luma = picture.luma_full
    left, top, right, bottom = (border(luma, side) for side in range(len(SIDES)))
    vertical, horizontal = seams(luma, (left, top, right, bottom))
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
    version=3,
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
