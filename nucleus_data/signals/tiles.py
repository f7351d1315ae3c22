"""Sample tiles of a picture at its own scale: a fixed cost, however large the picture."""

import numpy as np
from numpy.typing import NDArray

TILE = 64
TILES_A_SIDE = 4


def sample_tiles(luma_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Up to 4x4 tiles of 64x64 pixels, evenly spread, not overlapping.

    Args:
        luma_HW: Any size; a side below 64 pixels makes the tiles' side as short.

    Returns:
        N x (up to 64) x (up to 64), row by row.
    """
    height, width = (min(TILE, side) for side in luma_HW.shape)
    return np.stack(
        [
            luma_HW[top : top + height, left : left + width]
            for top in _starts(luma_HW.shape[0])
            for left in _starts(luma_HW.shape[1])
        ]
    )


def _starts(side: int) -> list[int]:
    count = max(1, min(TILES_A_SIDE, side // TILE))
    room = max(0, side - TILE)
    return [room * i // (count - 1) for i in range(count)] if count > 1 else [room // 2]
