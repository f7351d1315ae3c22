"""Passes over a picture's luma, compiled by numba; all release the interpreter's lock.

Each reads a picture once, some rows at a time, in long loops that become vector instructions (which
they do only over slices from 0 on), and gives whole numbers: a value is the same on every machine.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

# A step counts up to so many levels: block borders are low, and outlines of things must not hide
# them.
STEP_CAP = np.uint8(32)
BEND_CAP = np.int16(32)  # levels that a second difference counts up to
BLOCK = 8  # pixels along a side of what JPEG codes at once
_WINDOW = 16
_CAPPED = 255 // 32  # steps that can be added up in 8 bits
_SQUARES = 1024  # squares of Laplacians, each at most 1020^2, that can be added up in 32 bits


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
def _add_steps(ones: Luma, others: Luma, sums: Luma) -> None:
    for i in range(len(ones)):
        sums[i] += min(distance(ones[i], others[i]), STEP_CAP)


@njit(nogil=True, cache=True)
def _add_and_clear(sums: Luma, totals: NDArray[np.uint32]) -> None:
    for i in range(len(sums)):
        totals[i] += sums[i]
    sums[:] = 0


@njit(nogil=True, cache=True)
def step_sums(luma_HW: Luma) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums of |differences| of neighbours, each at most `STEP_CAP`, by their place modulo 8.

    Steps after the last whole 8 are left out.

    Args:
        luma_HW: 0..255.

    Returns:
        8 sums of the steps from column x to x + 1, over all rows, and 8 of those from row to row.
    """
    height, width = luma_HW.shape
    pixels = luma_HW.reshape(-1)
    sums = np.zeros((2, BLOCK * width), np.uint8)
    totals = np.zeros((2, BLOCK * width), np.uint32)
    steps = np.zeros((2, BLOCK), np.int64)
    whole_x = (width - 1) // BLOCK * BLOCK
    whole_y = (height - 1) // BLOCK * BLOCK
    for y in range(0, height, BLOCK):
        here = pixels[y * width : (y + BLOCK) * width]
        # From a row's last pixel to the next row's first is no step; it is left out at the end.
        right = pixels[y * width + 1 : (y + BLOCK) * width + 1]
        _add_steps(here[: len(right)], right, sums[0])
        if y < whole_y:
            below = pixels[(y + 1) * width : (y + 1 + BLOCK) * width]
            _add_steps(here, below, sums[1])
        if y // BLOCK % _CAPPED == _CAPPED - 1 or y + BLOCK >= height:
            _add_and_clear(sums[0], totals[0])
            _add_and_clear(sums[1], totals[1])
    for row in range(BLOCK):
        across, down = totals[0, row * width :], totals[1, row * width :]
        for x in range(whole_x):
            steps[0, x % BLOCK] += across[x]
        for x in range(width):
            steps[1, row] += down[x]
    return steps[0], steps[1]


@njit(nogil=True, cache=True)
def standing_out(luma_HW: Luma, steady: float) -> float:
    """What `compression` calls blockiness: the largest of 8 mean steps over their median, less 1.

    Args:
        luma_HW: 0..255, both sides above 8.
        steady: Levels that are added to the largest and to the median, so that little noise is
            not much blocking.

    Returns:
        The mean over both directions.
    """
    height, width = luma_HW.shape
    across, down = step_sums(luma_HW)
    across_means = np.sort(across / (height * ((width - 1) // BLOCK)))
    down_means = np.sort(down / (width * ((height - 1) // BLOCK)))
    median = (BLOCK - 1) // 2  # of all but the largest
    across_ratio = (across_means[-1] + steady) / (across_means[median] + steady)
    down_ratio = (down_means[-1] + steady) / (down_means[median] + steady)
    return (across_ratio + down_ratio) / 2 - 1


@njit(nogil=True, cache=True)
def block_edges(luma_HW: Luma, ranges_BB: NDArray[np.int32], steps_BB: NDArray[np.int32]) -> None:
    """Of each block, its range (highest less lowest luma) and its steepest step of neighbours.

    Args:
        luma_HW: 0..255, both sides 2 or more.
        ranges_BB: Range of each block, in levels; written. Its shape says how many blocks there
            are along each side.
        steps_BB: Steepest step of each block, in levels; written.
    """
    height, width = luma_HW.shape
    down, across = ranges_BB.shape
    lefts = np.empty(across + 1, np.int64)
    for bx in range(across + 1):
        lefts[bx] = width * bx // across
    found = np.empty((3, width), np.uint8)
    high, low, step = found[0], found[1], found[2]
    for by in range(down):
        top, bottom = height * by // down, height * (by + 1) // down
        high[:] = 0
        low[:] = 255
        step[:] = 0
        for y in range(top, bottom, 4):  # four at once: fewer loads and stores
            a, b = luma_HW[y], luma_HW[min(y + 1, bottom - 1)]
            c, d = luma_HW[min(y + 2, bottom - 1)], luma_HW[min(y + 3, bottom - 1)]
            e = luma_HW[min(y + 4, bottom - 1)]
            for x in range(width):
                high[x] = max(high[x], max(max(a[x], b[x]), max(c[x], d[x])))
            for x in range(width):
                low[x] = min(low[x], min(min(a[x], b[x]), min(c[x], d[x])))
            for x in range(width):
                first = max(distance(a[x], b[x]), distance(b[x], c[x]))
                second = max(distance(c[x], d[x]), distance(d[x], e[x]))
                step[x] = max(step[x], max(first, second))
            right_a, right_b, right_c, right_d = a[1:], b[1:], c[1:], d[1:]
            for x in range(width - 1):
                first = max(distance(a[x], right_a[x]), distance(b[x], right_b[x]))
                second = max(distance(c[x], right_c[x]), distance(d[x], right_d[x]))
                step[x] = max(step[x], max(first, second))
        for x in range(width):
            low[x] = np.uint8(255 - low[x])
        wide = width // across > _WINDOW
        if wide:
            _widen(found.reshape(-1))
        for bx in range(across):
            left, right = lefts[bx], lefts[bx + 1]
            # A step into the next block is not its own.
            last = right if right == width else right - 1
            stride = _WINDOW if wide else 1
            range_ = _most(high, left, right, stride) + _most(low, left, right, stride) - 255
            steepest = _most(step, left, last, stride)
            ranges_BB[by, bx], steps_BB[by, bx] = range_, min(steepest, range_)


@njit(nogil=True, cache=True)
def _widen(values: Luma) -> None:
    """Makes each value the largest of the `_WINDOW` from it on (in the last ones, of fewer)."""
    here, there = values, np.empty(len(values), np.uint8)
    for step in (1, 2, 4, 8):  # not in place: that would not be done with vectors
        later = here[step:]
        for x in range(len(later)):
            there[x] = max(here[x], later[x])
        there[len(later) :] = here[len(later) :]
        here, there = there, here


@njit(nogil=True, cache=True, inline="always")
def _most(values: Luma, start: int, end: int, stride: int) -> np.int64:
    """The largest value from `start` on and before `end`, each being that of `stride` ones."""
    most = values[end - stride]
    while start < end - stride:
        most = max(most, values[start])
        start += stride
    return np.int64(most)


@njit(nogil=True, cache=True)
def _percentile(values: NDArray[np.float64], share: float) -> float:
    """A percentile of one or more values, interpolated as in `np.percentile`."""
    place = share * (len(values) - 1)
    below = int(place)
    parted = np.partition(values, below)
    lower = parted[below]
    if below + 1 == len(values):
        return lower
    return lower + (parted[below + 1 :].min() - lower) * (place - below)


@njit(nogil=True, cache=True)
def width_of_blocks(luma_HW: Luma, side: int, least: int, strong: float) -> float:
    """What `sharpness` calls the width of edges, at one scale.

    Args:
        luma_HW: 0..255, both sides 2 or more.
        side: Pixels along the sides of a block, at least.
        least: Levels that a block's range must have to count.
        strong: Share of the 95th percentile of ranges that a block's range must have too.

    Returns:
        Pixels; 0 if no block counts.
    """
    down, across = max(1, luma_HW.shape[0] // side), max(1, luma_HW.shape[1] // side)
    ranges = np.empty((down, across), np.int32)
    steps = np.empty((down, across), np.int32)
    block_edges(luma_HW, ranges, steps)
    flat_ranges, flat_steps = ranges.reshape(-1), steps.reshape(-1)
    wanted = max(float(least), strong * _percentile(flat_ranges.astype(np.float64), 0.95))
    slopes = np.empty(len(flat_ranges), np.float64)
    count = 0
    for i in range(len(flat_ranges)):
        if flat_ranges[i] >= wanted:
            slopes[count] = flat_steps[i] / flat_ranges[i]
            count += 1
    return 1.0 / _percentile(slopes[:count], 0.9) if count else 0.0


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
def bends(luma_HW: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean |second difference| of each inner column (along rows), and of each inner row.

    Args:
        luma_HW: 0..255, both sides 3 or more.
    """
    height, width = luma_HW.shape
    across, down = np.zeros(width - 2, np.uint32), np.zeros(height - 2, np.uint32)
    for y in range(height):
        left, here, right = luma_HW[y], luma_HW[y, 1:], luma_HW[y, 2:]
        for x in range(width - 2):
            bend = np.int16(left[x]) + np.int16(right[x]) - np.int16(2 * np.int16(here[x]))
            across[x] += np.uint32(min(abs(np.int16(bend)), BEND_CAP))
    for y in range(height - 2):
        above, middle, below = luma_HW[y], luma_HW[y + 1], luma_HW[y + 2]
        total = np.uint32(0)
        for x in range(width):
            bend = np.int16(above[x]) + np.int16(below[x]) - np.int16(2 * np.int16(middle[x]))
            total = np.uint32(total + np.uint32(min(abs(np.int16(bend)), BEND_CAP)))
        down[y] = total
    return across / height, down / width
