"""Borders and seams: what runs along whole lines of a picture's luma. Compiled by numba.

What is counted, and why, is told in `layout`. All counts are whole numbers.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nucleus_data.signals.kernels import distance

Luma = NDArray[np.uint8]

_NEAR = 12  # levels from the border's own luma: what JPEG leaves around text
_STILL, _MOSTLY = 4, 0.85  # most of the outermost line is nearer: a texture is not
# What lies beyond may be almost as light: half of the pixels change, or get darker (lighter) by
# fewer levels; or two fifths by few levels, as things on white are much darker.
_FAR, _SHIFT, _LITTLE = 8, 4, 24
_ENDED, _SHIFTED = 0.5, 0.4
_DRIFT = 3  # levels from the first line on: more is a fading ground
_LINES = 2  # one line alone may be a resampling's edge
_PLAIN = 0.97
_WITH_TEXT = 0.2
_BEYOND = 4  # lines that the end of a border may take, by scaling or by JPEG; or a part of all
_BEYOND_PART = 128
# A seam: twice so many levels or more within three pixels, and over twice what lies on either side.
_SEAM_STEP = np.uint8(6)
_ROWS = 8  # that are looked at together, so that loops are long
_STRIPS = 255  # of so many rows, whose counts can be added up in 8 bits
_LANE = 2**16 - 1  # pixels whose counts can be added up in 16 bits


@njit(nogil=True, cache=True)
def median_level(line: Luma) -> int:
    """The median of a line of pixels, rounded down."""
    counts = np.zeros(256, np.int64)
    for i in range(len(line)):
        counts[line[i]] += 1
    lower, upper = (len(line) - 1) // 2, len(line) // 2  # places in the sorted line
    total, level = np.int64(0), 0
    while total + counts[level] <= lower:
        total += counts[level]
        level += 1
    other = level
    while total + counts[other] <= upper:
        total += counts[other]
        other += 1
    return (level + other) // 2


@njit(nogil=True, cache=True)
def _share(line: Luma, level: int, levels: int) -> float:
    """The share of a line's pixels that are within so many levels of one."""
    low, high = np.uint8(max(0, level - levels)), np.uint8(min(255, level + levels))
    near = np.uint32(0)
    for i in range(len(line)):
        near = np.uint32(near + np.uint32((line[i] >= low) & (line[i] <= high)))
    return near / len(line)


@njit(nogil=True, cache=True)
def _ends(line: Luma, other: Luma) -> bool:
    """Whether pixels change much from line to line, or a little to the same side.

    From pixels to those beside them: what changes along a line does not end a border.
    """
    much = lighter = darker = little_lighter = little_darker = np.int32(0)
    for i in range(len(line)):
        change = np.int32(other[i]) - np.int32(line[i])  # int() would stay without a sign
        much += np.int32(abs(change) > _FAR)
        lighter += np.int32(change > _SHIFT)
        darker += np.int32(change < -_SHIFT)
        little_lighter += np.int32((change > _SHIFT) & (change <= _LITTLE))
        little_darker += np.int32((change < -_SHIFT) & (change >= -_LITTLE))
    return bool(
        max(much, lighter, darker) > _ENDED * len(line)
        or max(little_lighter, little_darker) > _SHIFTED * len(line)
    )


@njit(nogil=True, cache=True)
def border(lines_LP: Luma) -> float:
    """The share of lines that are a border, from the first on; `layout` has the definition."""
    count = len(lines_LP)
    level = median_level(lines_LP[0])
    if _share(lines_LP[0], level, _STILL) < _MOSTLY or _share(lines_LP[0], level, _NEAR) < _PLAIN:
        return 0.0
    plain = 0
    for line in range(count // 2):
        share = _share(lines_LP[line], level, _NEAR)
        if share < _WITH_TEXT:
            break
        if share >= _PLAIN:
            plain = line + 1
    if plain < _LINES:
        return 0.0
    if abs(median_level(lines_LP[(plain - 1) * 3 // 4]) - level) > _DRIFT:
        return 0.0
    last = lines_LP[plain - 1]
    for line in range(plain, min(plain + max(_BEYOND, count // _BEYOND_PART), count)):
        if _ends(last, lines_LP[line]):
            return plain / count
    return 0.0


@njit(nogil=True, cache=True)
def borders(luma_HW: Luma) -> tuple[float, float, float, float]:
    """The shares of the sides that borders take: left, top, right, bottom."""
    turned = luma_HW.T
    return border(turned), border(luma_HW), border(turned[::-1]), border(luma_HW[::-1])


@njit(nogil=True, cache=True)
def seam_counts(luma_HW: Luma, columns_W: NDArray[np.int64], rows_H: NDArray[np.int64]) -> None:
    """How many pixels of a column (a row) jump there, while either side is flat.

    Args:
        luma_HW: 0..255.
        columns_W: At x, rows with a seam between columns x and x + 1; added to.
        rows_H: At y, columns with a seam between rows y and y + 1; added to.
    """
    height, width = luma_HW.shape
    pixels = luma_HW.reshape(-1)
    size = _ROWS * width
    across, down = np.zeros(size + 6, np.uint8), np.empty(size + 6 * width, np.uint8)
    seams, counts = np.empty(size, np.uint8), np.zeros(size, np.uint8)
    for strip in range(-(-height // _ROWS)):
        top = strip * _ROWS
        # Steps over three pixels; those into the next row are left out at the end.
        here = pixels[top * width :]
        _distances(here, here[3:], across[:size])
        _add_seams(across, across[3:], across[6:], counts[: len(here)])
        if strip % _STRIPS == _STRIPS - 1 or top + _ROWS >= height:
            for row in range(_ROWS if width > 9 else 0):
                _add(counts[row * width : (row + 1) * width - 9], columns_W[4:])
            counts[:] = 0
        # And over three rows. Six rows of them are still there from the last strip.
        known = 6 if strip else 0
        _distances(here[known * width :], here[(known + 3) * width :], down[known * width :])
        _seams(down, down[3 * width :], down[6 * width :], seams)
        for row in range(min(_ROWS, height - 9 - top)):
            rows_H[top + row + 4] += _count(seams[row * width : (row + 1) * width])
        _copy(down[size:], down[: 6 * width])


@njit(nogil=True, cache=True)
def _copy(values: Luma, place: Luma) -> None:
    for i in range(len(place)):
        place[i] = values[i]


@njit(nogil=True, cache=True)
def _distances(ones: Luma, others: Luma, found: Luma) -> None:
    """The distances of neighbours on two lines of one length; written to `found`."""
    found = found[: len(others)]
    for i in range(len(found)):
        found[i] = distance(ones[i], others[i])


@njit(nogil=True, cache=True)
def _seams(before: Luma, here: Luma, after: Luma, seams: Luma) -> None:
    """Where three steps that follow each other are a seam: 1, others 0."""
    for i in range(len(seams)):
        half = np.uint8(here[i] >> np.uint8(1))
        flat = max(max(before[i], after[i]), np.uint8(_SEAM_STEP - np.uint8(1)))
        seams[i] = np.uint8(half > flat)


@njit(nogil=True, cache=True)
def _add_seams(before: Luma, here: Luma, after: Luma, counts: Luma) -> None:
    for i in range(len(counts)):
        half = np.uint8(here[i] >> np.uint8(1))
        flat = max(max(before[i], after[i]), np.uint8(_SEAM_STEP - np.uint8(1)))
        counts[i] = np.uint8(counts[i] + np.uint8(half > flat))


@njit(nogil=True, cache=True)
def _add(values: Luma, sums: NDArray[np.generic]) -> None:
    for i in range(len(values)):
        sums[i] += values[i]


@njit(nogil=True, cache=True)
def _count(seams: Luma) -> int:
    total = 0
    for start in range(0, len(seams), _LANE):
        part = seams[start : start + _LANE]
        count = np.uint16(0)
        for i in range(len(part)):
            count = np.uint16(count + np.uint16(part[i]))
        total += int(count)
    return total


@njit(nogil=True, cache=True)
def seams(
    luma_HW: Luma, left: float, top: float, right: float, bottom: float
) -> tuple[float, float]:
    """The largest share of a column, and of a row, that jumps.

    Args:
        luma_HW: 0..255.
        left: Share of the columns, at the left, that do not count.
        top: Share of the rows, at the top, that do not count.
        right: Share of the columns, at the right, that do not count.
        bottom: Share of the rows, at the bottom, that do not count.
    """
    height, width = luma_HW.shape
    columns, rows = np.zeros(width, np.int64), np.zeros(height, np.int64)
    seam_counts(luma_HW, columns, rows)
    vertical = horizontal = np.int64(0)
    for x in range(int(left * width), int((1 - right) * width)):
        vertical = max(vertical, columns[x])
    for y in range(int(top * height), int((1 - bottom) * height)):
        horizontal = max(horizontal, rows[y])
    return vertical / height, horizontal / width
