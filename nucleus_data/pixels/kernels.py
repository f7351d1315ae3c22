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
def luma_and_blocks(words_HW: NDArray[np.uint32], factor: int) -> tuple[Pixels, Pixels]:
    """Luma at full size, and the means of square blocks, in one pass.

    Args:
        words_HW: Pixels as little-endian words of red, green, blue and a byte that does not count.
        factor: Side of a block: 1, 2, 4, 8 or 16. Blocks at the right and bottom may be cut.

    Returns:
        BT.601 luma, HxW, and rounded means, ceil(H / factor) x ceil(W / factor) x 3.
    """
    height, width = words_HW.shape
    down, across = -(-height // factor), -(-width // factor)
    luma_HW = np.empty((height, width), np.uint8)
    blocks = np.empty((down, across, 3), np.uint8)
    # Two sums a word, of 16 bits each: 16 x 16 pixels of 255 just fit.
    red_blue = np.empty(across * factor, np.uint32)
    green = np.empty(across * factor, np.uint32)
    spare = np.empty(across * factor, np.uint32)
    half = np.uint32(factor * factor // 2)
    shift = np.uint32(0)
    while (1 << shift) < factor * factor:
        shift += np.uint32(1)
    for by in range(down):
        red_blue[:] = 0
        green[:] = 0
        top, bottom = by * factor, min(height, (by + 1) * factor)
        for y in range(top, bottom):
            row, luma = words_HW[y], luma_HW[y]
            for x in range(width):
                word = row[x]
                r = word & np.uint32(0xFF)
                g = (word >> np.uint32(8)) & np.uint32(0xFF)
                b = (word >> np.uint32(16)) & np.uint32(0xFF)
                luma[x] = bt601(r, g, b)
            for x in range(width):
                red_blue[x] += row[x] & np.uint32(0xFF00FF)
                green[x] += (row[x] >> np.uint32(8)) & np.uint32(0xFF)
        length = across * factor
        while length > across:
            length //= 2
            for x in range(length):
                spare[x] = red_blue[2 * x] + red_blue[2 * x + 1]
            red_blue, spare = spare, red_blue
            for x in range(length):
                spare[x] = green[2 * x] + green[2 * x + 1]
            green, spare = spare, green
        means = blocks[by].reshape(-1)
        cut = bottom - top < factor
        for x in range(0 if cut else width // factor):
            means[3 * x] = ((red_blue[x] & np.uint32(0xFFFF)) + half) >> shift
            means[3 * x + 1] = (green[x] + half) >> shift
            means[3 * x + 2] = ((red_blue[x] >> np.uint32(16)) + half) >> shift
        for x in range(0 if cut else width // factor, across):
            count = np.uint32((bottom - top) * (min(width, (x + 1) * factor) - x * factor))
            means[3 * x] = ((red_blue[x] & np.uint32(0xFFFF)) + (count >> 1)) // count
            means[3 * x + 1] = (green[x] + (count >> 1)) // count
            means[3 * x + 2] = ((red_blue[x] >> np.uint32(16)) + (count >> 1)) // count
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
    # Whole numbers below 2^53: the order of additions does not matter.
    sums = np.empty((columns + 1) * channels, np.float64)
    running = np.empty((columns + 1) * channels, np.float64)
    for y in range(down):
        sums[:] = 0.0
        for block in range(block_y[y], min(block_y[y + 1] + 1, rows)):
            start = within_y[y] if block == block_y[y] else 0.0
            end = within_y[y + 1] if block == block_y[y + 1] else float(factor * down)
            row = blocks_HWC[block].reshape(-1)
            for x in range(columns * channels):
                sums[x] += (end - start) * row[x]
        running[:channels] = 0.0
        for x in range(columns * channels):
            running[x + channels] = running[x] + factor * across * sums[x]
        for c in range(channels):
            before = 0.0
            for x in range(across):
                at = block_x[x + 1] * channels + c
                upto = running[at] + within_x[x + 1] * sums[at]
                result[y, x, c] = np.uint8((upto - before) * share + 0.5)
                before = upto
    return result
