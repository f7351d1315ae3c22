"""Passes over a picture's luma, compiled by numba; all release the interpreter's lock.

Each reads a picture once, row by row, in loops that become vector instructions, and gives whole
numbers: a value is the same on every machine.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
# A step counts up to so many levels: block borders are low, and outlines of things must not hide
# them.
STEP_CAP = np.int32(32)
# A seam: twice so many levels or more within three pixels, and over twice what lies on either side.
SEAM_STEP = np.uint8(6)


@njit(nogil=True, cache=True, inline="always")
def distance(one: np.uint8, other: np.uint8) -> np.uint8:
    """|one - other| without leaving 8 bits, so that a vector holds four times as many."""
    return np.uint8(max(one, other) - min(one, other))


@njit(nogil=True, cache=True)
def step_sums(luma_HW: Luma, columns_W: NDArray[np.int64], rows_H: NDArray[np.int64]) -> None:
    """Sums of |differences| of neighbours, each at most `STEP_CAP`.

    Args:
        luma_HW: 0..255.
        columns_W: At x, added over all rows, the steps from column x to x + 1; the last stays 0.
        rows_H: At y, over all columns, those from row y to y + 1; the last stays 0.
    """
    height, width = luma_HW.shape
    sums = np.zeros(width, np.int32)
    for y in range(height):
        row = luma_HW[y]
        for x in range(width - 1):
            step = abs(np.int32(row[x]) - np.int32(row[x + 1]))
            sums[x] += np.int32(min(step, STEP_CAP))
        if y + 1 < height:
            below = luma_HW[y + 1]
            total = np.int64(0)
            for x in range(width):
                step = abs(np.int32(row[x]) - np.int32(below[x]))
                total += min(step, STEP_CAP)
            rows_H[y] += total
    for x in range(width):
        columns_W[x] += sums[x]


@njit(nogil=True, cache=True)
def block_edges(luma_HW: Luma, ranges_BB: NDArray[Any], steps_BB: NDArray[Any]) -> None:
    """Of each block, its range (highest less lowest luma) and its steepest step of neighbours.

    Args:
        luma_HW: 0..255, both sides 2 or more.
        ranges_BB: int32, of as many blocks as are wanted along each side; written.
        steps_BB: Likewise.
    """
    height, width = luma_HW.shape
    down, across = ranges_BB.shape
    high = np.empty(width, np.uint8)
    low = np.empty(width, np.uint8)
    step = np.empty(width, np.uint8)
    for by in range(down):
        top, bottom = height * by // down, height * (by + 1) // down
        high[:] = 0
        low[:] = 255
        step[:] = 0
        for y in range(top, bottom):
            row = luma_HW[y]
            below = luma_HW[min(y + 1, bottom - 1)]
            for x in range(width):
                high[x] = max(high[x], row[x])
                low[x] = min(low[x], row[x])
                step[x] = max(step[x], distance(row[x], below[x]))
            for x in range(width - 1):
                step[x] = max(step[x], distance(row[x], row[x + 1]))
        for bx in range(across):
            left, right = width * bx // across, width * (bx + 1) // across
            highest, lowest, steepest = np.int64(0), np.int64(255), np.int64(0)
            for x in range(left, right):
                highest = max(highest, np.int64(high[x]))
                lowest = min(lowest, np.int64(low[x]))
                if x + 1 < right or right == width:  # a step into the next block is not its own
                    steepest = max(steepest, np.int64(step[x]))
            ranges_BB[by, bx] = highest - lowest
            steps_BB[by, bx] = min(steepest, highest - lowest)


@njit(nogil=True, cache=True)
def halved(luma_HW: Luma) -> Luma:
    """The means of squares of 2 x 2 pixels, rounded; an odd last row or column is left out."""
    height, width = luma_HW.shape[0] // 2, luma_HW.shape[1] // 2
    half = np.empty((height, width), np.uint8)
    for y in range(height):
        one, other = luma_HW[2 * y], luma_HW[2 * y + 1]
        for x in range(width):
            total = np.int32(one[2 * x]) + np.int32(one[2 * x + 1])
            total += np.int32(other[2 * x]) + np.int32(other[2 * x + 1])
            half[y, x] = np.uint8((total + 2) >> 2)
    return half


@njit(nogil=True, cache=True)
def border_lines(
    luma_HW: Luma, side: int, low: int, high: int, with_text: float, plain: float
) -> int:
    """How many lines from one side on are a border: up to the last plain one.

    Args:
        luma_HW: 0..255.
        side: 0 left, 1 top, 2 right, 3 bottom.
        low: Lowest luma of the border.
        high: Highest.
        with_text: Least share of a line's pixels in between; a line below it ends the walk.
        plain: Least share of a plain line.

    Returns:
        0 to half of the lines.
    """
    height, width = luma_HW.shape
    across = side == 0 or side == 2  # lines are columns
    count, length = (width, height) if across else (height, width)
    found = 0
    for line in range(count // 2):
        at = line if side < 2 else count - 1 - line
        near = 0
        if across:
            for y in range(height):
                near += (luma_HW[y, at] >= low) & (luma_HW[y, at] <= high)
        else:
            row = luma_HW[at]
            for x in range(width):
                near += (row[x] >= low) & (row[x] <= high)
        if near < with_text * length:
            break
        if near >= plain * length:
            found = line + 1
    return found


@njit(nogil=True, cache=True)
def seam_counts(luma_HW: Luma, columns_W: NDArray[np.int64], rows_H: NDArray[np.int64]) -> None:
    """How many pixels of a column (a row) jump there, while either side is flat.

    Args:
        luma_HW: 0..255.
        columns_W: At x, rows with a seam between columns x and x + 1.
        rows_H: At y, columns with a seam between rows y and y + 1.
    """
    height, width = luma_HW.shape
    counts = np.zeros(width, np.int32)
    for y in range(height):
        row = luma_HW[y]
        for x in range(4, width - 5):
            half = distance(row[x + 2], row[x - 1]) >> 1
            counts[x] += np.int32(
                (half >= SEAM_STEP)
                & (half > distance(row[x - 1], row[x - 4]))
                & (half > distance(row[x + 5], row[x + 2]))
            )
        if 4 <= y < height - 5:
            row_0, row_1 = luma_HW[y - 4], luma_HW[y - 1]
            row_2, row_3 = luma_HW[y + 2], luma_HW[y + 5]
            total = np.int32(0)
            for x in range(width):
                half = distance(row_2[x], row_1[x]) >> 1
                total += np.int32(
                    (half >= SEAM_STEP)
                    & (half > distance(row_1[x], row_0[x]))
                    & (half > distance(row_3[x], row_2[x]))
                )
            rows_H[y] += total
    for x in range(width):
        columns_W[x] += counts[x]


@njit(nogil=True, cache=True)
def colour_sums(
    pixels_HWC: NDArray[np.uint8],
    sums: NDArray[np.int64],
    bins: NDArray[np.int32],
    shifted: NDArray[np.int32],
) -> None:
    """Sums of two opponent axes, R - G and R + G - 2 B, and histograms of coarse colours.

    Args:
        pixels_HWC: RGB, 0..255.
        sums: Of the first axis, its squares, the second axis, its squares, and the number of
            pixels whose largest and smallest channels are less than 12 levels apart; added to.
        bins: 16^3, of colours in steps of 16 levels; added to.
        shifted: 17^3, the same with borders half a step further; added to.
    """
    height, width, _ = pixels_HWC.shape
    first = first_2 = second = second_2 = grey = np.int64(0)
    for y in range(height):
        for x in range(width):
            r = np.int64(pixels_HWC[y, x, 0])
            g = np.int64(pixels_HWC[y, x, 1])
            b = np.int64(pixels_HWC[y, x, 2])
            one, other = r - g, r + g - 2 * b
            first += one
            first_2 += one * one
            second += other
            second_2 += other * other
            grey += max(r, g, b) - min(r, g, b) < 12
            bins[((r >> 4) << 8) | ((g >> 4) << 4) | (b >> 4)] += 1
            shifted[(((r + 8) >> 4) * 17 + ((g + 8) >> 4)) * 17 + ((b + 8) >> 4)] += 1
    sums[0] += first
    sums[1] += first_2
    sums[2] += second
    sums[3] += second_2
    sums[4] += grey
