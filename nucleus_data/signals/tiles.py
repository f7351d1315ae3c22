"""Sample tiles of a picture at its own scale, compiled by numba."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def starts(length: int, side: int, most: int) -> NDArray[np.int64]:
    """Where up to so many stretches begin that lie evenly spread along a line."""
    count, room = max(1, min(most, length // side)), max(0, length - side)
    found = np.full(count, room // 2)
    for i in range(count if count > 1 else 0):
        found[i] = room * i // (count - 1)
    return found


@njit(nogil=True, cache=True)
def sample_tiles(luma_HW: NDArray[np.uint8], side: int, most: int) -> NDArray[np.uint8]:
    """Square tiles, evenly spread, not overlapping.

    Args:
        luma_HW: Any size; a shorter side makes the tiles' side as short.
        side: Pixels along a tile's sides.
        most: Tiles along a side of the picture.

    Returns:
        Down x across x side x side.
    """
    tops, lefts = starts(luma_HW.shape[0], side, most), starts(luma_HW.shape[1], side, most)
    height, width = min(side, luma_HW.shape[0]), min(side, luma_HW.shape[1])
    tiles = np.empty((len(tops), len(lefts), height, width), np.uint8)
    for i in range(len(tops)):
        for j in range(len(lefts)):
            for y in range(height):
                row, tile = luma_HW[tops[i] + y, lefts[j] :], tiles[i, j, y]
                for x in range(width):
                    tile[x] = row[x]
    return tiles


@njit(nogil=True, cache=True)
def mosaic(luma_HW: NDArray[np.uint8], side: int, most: int) -> NDArray[np.uint8]:
    """The same tiles side by side, H x W x 1."""
    tiles_DAYX = sample_tiles(luma_HW, side, most)
    down, across, height, width = tiles_DAYX.shape
    result = np.empty((down * height, across * width, 1), np.uint8)
    for i in range(down):
        for j in range(across):
            for y in range(height):
                row, tile = result[i * height + y, j * width :, 0], tiles_DAYX[i, j, y]
                for x in range(width):
                    row[x] = tile[x]
    return result
