"""Passes over decoded pixels, compiled by numba. All sums are over integers: same on any machine.

Imported when first needed: a training loader that only crops has no use for numba.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@njit(nogil=True, cache=True, inline="always")
def bt601(red: np.uint32, green: np.uint32, blue: np.uint32) -> np.uint8:
    """BT.601 luma, rounded as Pillow's `convert("L")` does."""
    total = red * np.uint32(19595) + green * np.uint32(38470) + blue * np.uint32(7471)
    return np.uint8((total + np.uint32(0x8000)) >> np.uint32(16))


@njit(nogil=True, cache=True)
def luma_of(pixels_HWC: Pixels) -> Pixels:
    """BT.601 luma of RGB, HxW."""
    height, width, _ = pixels_HWC.shape
    luma_HW = np.empty((height, width), np.uint8)
    pixels, luma = pixels_HWC.reshape(-1), luma_HW.reshape(-1)
    for i in range(height * width):
        red, green, blue = pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]
        luma[i] = bt601(np.uint32(red), np.uint32(green), np.uint32(blue))
    return luma_HW


@njit(nogil=True, cache=True)
def luma_and_blocks(pixels_HWC: Pixels, factor: int) -> tuple[Pixels, Pixels]:
    """Luma at full size, and the means of square blocks, in one pass.

    Args:
        pixels_HWC: Red, green, blue and a byte that does not count.
        factor: Side of a block: 1, 2, 4, 8 or 16. Blocks at the right and bottom may be cut.

    Returns:
        BT.601 luma, HxW, and rounded means, ceil(H / factor) x ceil(W / factor) x 3.
    """
    height, width, _ = pixels_HWC.shape
    bytes_HB = pixels_HWC.reshape(height, 4 * width)
    words_HW = bytes_HB.view(np.uint32)
    down, across = -(-height // factor), -(-width // factor)
    luma_HW = np.empty((height, width), np.uint8)
    blocks = np.empty((down, across, 3), np.uint8)
    # Sums of 16 bits, four to a pixel, in one word of 64: 16 x 16 pixels of 255 just fit.
    sums = np.zeros(4 * factor * across, np.uint16)
    halved = np.empty(factor * across, np.uint64)
    shift = np.uint64(0)
    while (1 << shift) < factor * factor:
        shift += np.uint64(1)
    half = np.uint64(factor * factor // 2) * np.uint64(0x0001_0001_0001_0001)
    for by in range(down):
        top, bottom = by * factor, min(height, (by + 1) * factor)
        for y in range(top, bottom):
            row, luma = words_HW[y], luma_HW[y]
            for x in range(width):
                red = row[x] & np.uint32(0xFF)
                green = (row[x] >> np.uint32(8)) & np.uint32(0xFF)
                blue = (row[x] >> np.uint32(16)) & np.uint32(0xFF)
                luma[x] = bt601(red, green, blue)
        for y in range(top, bottom, 2):
            one = bytes_HB[y]
            if y + 1 == bottom:
                for i in range(4 * width):
                    sums[i] = np.uint16(one[i]) + (sums[i] if y > top else np.uint16(0))
                continue
            other = bytes_HB[y + 1]
            if y == top:
                for i in range(4 * width):
                    sums[i] = np.uint16(one[i]) + np.uint16(other[i])
            else:
                for i in range(4 * width):
                    sums[i] += np.uint16(one[i]) + np.uint16(other[i])
        totals, length = sums.view(np.uint64), factor * across
        while length > across:
            length //= 2
            for x in range(length):
                halved[x] = totals[2 * x] + totals[2 * x + 1]
            totals = halved
        means = blocks[by].reshape(-1)
        whole = width // factor if bottom - top == factor else 0
        for x in range(whole):
            mean = (totals[x] + half) >> shift
            means[3 * x] = np.uint8(mean)
            means[3 * x + 1] = np.uint8(mean >> np.uint64(16))
            means[3 * x + 2] = np.uint8(mean >> np.uint64(32))
        for x in range(whole, across):
            count = np.uint64((bottom - top) * (min(width, (x + 1) * factor) - x * factor))
            for c in range(3):
                total = (totals[x] >> np.uint64(16 * c)) & np.uint64(0xFFFF)
                means[3 * x + c] = (total + (count >> np.uint64(1))) // count
    return luma_HW, blocks


@njit(nogil=True, cache=True)
def _places(count: int, length: int, factor: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where each of `count` equal cells begins, and where the last one ends.

    Returns:
        The number of a block, and how far into it in parts of 1 / count pixel.
    """
    blocks = np.empty(count + 1, np.int64)
    within = np.empty(count + 1, np.float64)
    for cell in range(count + 1):
        blocks[cell] = cell * length // (factor * count)
        within[cell] = cell * length - blocks[cell] * factor * count
    return blocks, within


@njit(nogil=True, cache=True)
def area_average(
    blocks_HWC: Pixels, factor: int, size: tuple[int, int], wanted: tuple[int, int]
) -> Pixels:
    """Scales down by exact means: a pixel that two cells share counts for each by its part.

    Args:
        blocks_HWC: The picture, or means of its blocks.
        factor: Side of a block in pixels; 1 for the picture itself.
        size: Width and height of the picture in pixels.
        wanted: Width and height of the result, no larger.

    Returns:
        Rounded means.
    """
    width, height = size
    across, down = wanted
    rows, columns, channels = blocks_HWC.shape
    result = np.empty((down, across, channels), np.uint8)
    block_y, within_y = _places(down, height, factor)
    block_x, within_x = _places(across, width, factor)
    share = 1.0 / (float(width) * float(height))
    whole_x, whole_y = float(factor * across), float(factor * down)
    # Whole numbers: a column's sum is below 2^32, and others below 2^53, where float64 is exact.
    column = np.empty(columns * channels, np.uint32)
    sums = np.zeros((columns + 1) * channels, np.float64)
    cells = np.empty(across * channels, np.float64)
    for y in range(down):
        column[:] = 0
        for block in range(block_y[y], min(block_y[y + 1] + 1, rows)):
            start = within_y[y] if block == block_y[y] else 0.0
            end = within_y[y + 1] if block == block_y[y + 1] else whole_y
            part = np.uint32(end - start)
            row = blocks_HWC[block].reshape(-1)
            for x in range(columns * channels):
                column[x] += part * np.uint32(row[x])
        for x in range(columns * channels):
            sums[x] = column[x]
        for c in range(0 if channels == 3 else channels):
            for x in range(across):
                first, last = block_x[x] * channels + c, block_x[x + 1] * channels + c
                total = (whole_x - within_x[x]) * sums[first] + within_x[x + 1] * sums[last]
                for at in range(first + channels, last, channels):
                    total += whole_x * sums[at]
                cells[x * channels + c] = total
        for x in range(across if channels == 3 else 0):  # the same, in a third of the time
            at, last, part = 3 * block_x[x], 3 * block_x[x + 1], whole_x - within_x[x]
            red, green, blue = part * sums[at], part * sums[at + 1], part * sums[at + 2]
            at += 3
            while at < last:
                red += whole_x * sums[at]
                green += whole_x * sums[at + 1]
                blue += whole_x * sums[at + 2]
                at += 3
            part = within_x[x + 1]
            cells[3 * x] = red + part * sums[at]
            cells[3 * x + 1] = green + part * sums[at + 1]
            cells[3 * x + 2] = blue + part * sums[at + 2]
        line = result[y].reshape(-1)
        for x in range(across * channels):
            line[x] = np.uint8(np.int32(cells[x] * share + 0.5))
    return result
