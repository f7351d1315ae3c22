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
STEP_CAP = np.uint8(32)
_STEP_ROWS = 255 // 32  # rows whose steps can be added up in 8 bits
_SQUARES = 1024  # squares of Laplacians, each at most 1020^2, that can be added up in 32 bits
# A seam: twice so many levels or more within three pixels, and over twice what lies on either side.
SEAM_STEP = np.uint8(6)


@njit(nogil=True, cache=True, inline="always")
def distance(one: np.uint8, other: np.uint8) -> np.uint8:
    """|one - other| without leaving 8 bits, so that a vector holds four times as many."""
    return np.uint8(max(one, other) - min(one, other))


@njit(nogil=True, cache=True)
def laplacian_sums(luma_HW: Luma) -> tuple[np.int64, np.int64]:
    """The sum of the 4-neighbour Laplacian over the inner pixels, and the sum of its squares."""
    height, width = luma_HW.shape
    # Of the sum only the differences across the borders are left.
    total, squares = np.int64(0), np.int64(0)
    for x in range(1, width - 1):
        total += np.int64(luma_HW[0, x]) - np.int64(luma_HW[1, x])
        total += np.int64(luma_HW[height - 1, x]) - np.int64(luma_HW[height - 2, x])
    for y in range(1, height - 1):
        total += np.int64(luma_HW[y, 0]) - np.int64(luma_HW[y, 1])
        total += np.int64(luma_HW[y, width - 1]) - np.int64(luma_HW[y, width - 2])
        for start in range(0, width - 2, _SQUARES):
            above, below = luma_HW[y - 1, start + 1 :], luma_HW[y + 1, start + 1 :]
            left, here, right = luma_HW[y, start:], luma_HW[y, start + 1 :], luma_HW[y, start + 2 :]
            part = np.int32(0)
            for x in range(min(_SQUARES, width - 2 - start)):
                around = np.int16(above[x]) + np.int16(below[x])
                around += np.int16(left[x]) + np.int16(right[x])
                value = np.int16(around - 4 * np.int16(here[x]))
                part = np.int32(part + np.int32(value) * np.int32(value))
            squares += part
    return total, squares


@njit(nogil=True, cache=True)
def step_sums(luma_HW: Luma, columns_W: NDArray[np.int64], rows_H: NDArray[np.int64]) -> None:
    """Sums of |differences| of neighbours, each at most `STEP_CAP`.

    Args:
        luma_HW: 0..255.
        columns_W: At x, added over all rows, the steps from column x to x + 1; the last stays 0.
        rows_H: At y, over all columns, those from row y to y + 1; the last stays 0.
    """
    height, width = luma_HW.shape
    some = np.zeros(width, np.uint8)
    for y in range(height):
        row = luma_HW[y]
        for x in range(width - 1):
            some[x] += min(distance(row[x], row[x + 1]), STEP_CAP)
        if y % _STEP_ROWS == _STEP_ROWS - 1 or y == height - 1:
            for x in range(width - 1):
                columns_W[x] += some[x]
            some[:] = 0
        if y + 1 < height:
            below = luma_HW[y + 1]
            total = np.uint32(0)
            for x in range(width):
                total = np.uint32(total + min(distance(row[x], below[x]), STEP_CAP))
            rows_H[y] += total


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
    some = np.zeros(width, np.uint8)
    for y in range(height):
        row = luma_HW[y]
        for x in range(4, width - 5):
            half = distance(row[x + 2], row[x - 1]) >> 1
            some[x] += np.uint8(
                (half >= SEAM_STEP)
                & (half > distance(row[x - 1], row[x - 4]))
                & (half > distance(row[x + 5], row[x + 2]))
            )
        if y % 255 == 254 or y == height - 1:
            for x in range(width):
                columns_W[x] += some[x]
            some[:] = 0
        if 4 <= y < height - 5:
            row_0, row_1 = luma_HW[y - 4], luma_HW[y - 1]
            row_2, row_3 = luma_HW[y + 2], luma_HW[y + 5]
            total = np.uint32(0)
            for x in range(width):
                half = distance(row_2[x], row_1[x]) >> 1
                total = np.uint32(
                    total
                    + np.uint32(
                        (half >= SEAM_STEP)
                        & (half > distance(row_1[x], row_0[x]))
                        & (half > distance(row_3[x], row_2[x]))
                    )
                )
            rows_H[y] += total


@njit(nogil=True, cache=True)
def cell_sums(luma_HW: Luma, side: int) -> NDArray[np.float64]:
    """Sums over a grid of equal cells, counting split pixels by their parts.

    Args:
        luma_HW: 0..255.
        side: Cells along each side.

    Returns:
        side x side whole numbers, in units of 1 / side^2 of a pixel's level.
    """
    height, width = luma_HW.shape
    sums = np.zeros((side, side), np.float64)
    rows = np.empty(width, np.float64)
    for cy in range(side):
        start, end = cy * height, (cy + 1) * height
        rows[:] = 0.0
        for y in range(start // side, (end - 1) // side + 1):
            part = float(min(end, (y + 1) * side) - max(start, y * side))
            row = luma_HW[y]
            for x in range(width):
                rows[x] += part * row[x]
        for cx in range(side):
            start, end = cx * width, (cx + 1) * width
            total = 0.0
            for x in range(start // side, (end - 1) // side + 1):
                total += (min(end, (x + 1) * side) - max(start, x * side)) * rows[x]
            sums[cy, cx] = total
    return sums


@njit(nogil=True, cache=True)
def level_counts(luma_HW: Luma) -> NDArray[np.int64]:
    """How many pixels have each of the 256 levels."""
    height, width = luma_HW.shape
    counts = np.zeros((2, 256), np.int64)  # two, as neighbours alike would wait for each other
    for y in range(height):
        row = luma_HW[y]
        for x in range(0, width - 1, 2):
            counts[0, row[x]] += 1
            counts[1, row[x + 1]] += 1
        if width % 2:
            counts[0, row[width - 1]] += 1
    return counts[0] + counts[1]


@njit(nogil=True, cache=True)
def median_level(line: Luma) -> int:
    """The median of a line of pixels, rounded down."""
    counts = np.zeros(256, np.int64)
    for level in line:
        counts[level] += 1
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
def likeness(grid: NDArray[np.float64], step: int, faint: float) -> float:
    """Correlation of a grid's gradients, less their means, with themselves some rows further.

    Args:
        grid: G x G averages.
        step: Rows.
        faint: Gradients that count as none; they are added to the power.

    Returns:
        -1..1.
    """
    last = len(grid) - 1
    down, across = np.empty((last, last)), np.empty((last, last))
    for y in range(last):
        for x in range(last):
            down[y, x] = grid[y + 1, x] - grid[y, x]
            across[y, x] = grid[y, x + 1] - grid[y, x]
    mean_down, mean_across = down.sum() / down.size, across.sum() / across.size
    product = first = second = 0.0
    for y in range(last - step):
        for x in range(last):
            a, b = down[y, x] - mean_down, down[y + step, x] - mean_down
            c, d = across[y, x] - mean_across, across[y + step, x] - mean_across
            product += a * b + c * d
            first += a * a + c * c
            second += b * b + d * d
    return product / (np.sqrt(first * second) + faint * faint * (last - step) * 2 * last)


@njit(nogil=True, cache=True)
def histogram_sums(
    counts: NDArray[np.int64],
) -> tuple[np.int64, np.int64, np.int64, float]:
    """Of a histogram: the entries, their sum, the sum of their squares, and Shannon's entropy."""
    n = total = squares = np.int64(0)
    for level in range(len(counts)):
        n += counts[level]
        total += level * counts[level]
        squares += level * level * counts[level]
    entropy = 0.0
    for count in counts:
        if count > 0:
            entropy += count / n * np.log2(n / count)
    return n, total, squares, entropy


@njit(nogil=True, cache=True)
def channel_range_sum(pixels_HWC: NDArray[np.uint8]) -> np.int64:
    """The sum, over all pixels, of the largest channel less the smallest one."""
    flat = pixels_HWC.reshape(-1)
    total = np.int64(0)
    for i in range(len(flat) // 3):
        r, g, b = flat[3 * i], flat[3 * i + 1], flat[3 * i + 2]
        total += np.uint8(max(max(r, g), b) - min(min(r, g), b))
    return total


@njit(nogil=True, cache=True)
def colour_sums(
    pixels_HWC: NDArray[np.uint8],
    sums: NDArray[np.int64],
    bins: NDArray[np.int32],
    shifted: NDArray[np.int32],
) -> None:
    """Sums of two opponent axes, R - G and R + G - 2 B, and histograms of coarse colours.

    Args:
        pixels_HWC: RGB, 0..255; at most 8192 pixels wide, so that a row's sums fit 32 bits.
        sums: Of the first axis, its squares, the second axis, its squares, and the number of
            pixels whose largest and smallest channels are less than 12 levels apart; added to.
        bins: 16^3, of colours in steps of 16 levels; added to.
        shifted: 17^3, the same with borders half a step further; added to.
    """
    height, width, _ = pixels_HWC.shape
    reds, greens, blues = (
        np.empty(width, np.int32),
        np.empty(width, np.int32),
        np.empty(width, np.int32),
    )
    for y in range(height):
        row = pixels_HWC[y].reshape(-1)
        for x in range(width):
            reds[x], greens[x], blues[x] = row[3 * x], row[3 * x + 1], row[3 * x + 2]
        first = first_2 = second = second_2 = grey = np.int32(0)
        for x in range(width):
            r, g, b = reds[x], greens[x], blues[x]
            one, other = np.int32(r - g), np.int32(r + g - 2 * b)
            first = np.int32(first + one)
            first_2 = np.int32(first_2 + one * one)
            second = np.int32(second + other)
            second_2 = np.int32(second_2 + other * other)
            near = max(max(r, g), b) - min(min(r, g), b) < 12
            grey = np.int32(grey + np.int32(near))
        sums[0] += first
        sums[1] += first_2
        sums[2] += second
        sums[3] += second_2
        sums[4] += grey
        for x in range(width):
            r, g, b = reds[x], greens[x], blues[x]
            bins[((r >> 4) << 8) | ((g >> 4) << 4) | (b >> 4)] += 1
            shifted[(((r + 8) >> 4) * 17 + ((g + 8) >> 4)) * 17 + ((b + 8) >> 4)] += 1
