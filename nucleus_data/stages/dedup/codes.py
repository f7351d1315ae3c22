"""Hash codes as numpy arrays: types, and the number of bits that are set.

They are not in `search`, so that code that only makes decisions does not import numba.
"""

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
Indices = NDArray[np.int64]
Distances = NDArray[np.int8]

MAX_DISTANCE = 8


def popcount(values: Codes) -> NDArray[np.uint8]:
    """Returns the number of set bits in each value, 0 to 64."""
    counts: NDArray[np.uint8] = np.bitwise_count(values)
    return counts
