"""Confirms candidate pairs by a 256-bit hash and the aspect ratio.

Candidates have near 64-bit hashes, but among billions of pairs, thousands of different pictures are
that near by chance. A pair counts only if the 256-bit hashes are near, too, and both images have
the same aspect ratio within a tolerance.
"""

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.dedup.codes import popcount

_HALF_STEP = np.uint64(1 << 42)  # rounds the 52 bits of a float's mantissa to 9


def hash256_distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.int16]:
    """Computes the Hamming distances of 256-bit hashes.

    Args:
        one: uint64[N, 4].
        other: uint64[N, 4].

    Returns:
        int16[N], 0 to 256.
    """
    return popcount(one ^ other).sum(axis=1, dtype=np.int16)


def rounded_aspect(size: NDArray[np.int64]) -> NDArray[np.float64]:
    """Computes width / height, rounded to 9 bits after the leading one (an error of at most 0.1 %).

    Pictures of a single colour all have the same hashes, whatever their size, and must not fall
    into millions of different shapes. With rounding, there are some 500 between 1:1 and 2:1.

    Args:
        size: Width and height, int64[N, 2], each 1 to 2^31 - 1.

    Returns:
        float64[N], the same on every machine.
    """
    bits = (size[:, 0] / size[:, 1]).view(np.uint64)
    rounded = (bits + _HALF_STEP) & ~(2 * _HALF_STEP - np.uint64(1))
    return rounded.view(np.float64)


def aspect_difference(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """Computes by how much the larger rounded aspect ratio exceeds the smaller one: max / min - 1.

    Args:
        one: Width and height, int64[N, 2], each 1 to 2^31 - 1.
        other: int64[N, 2].

    Returns:
        float64[N], 0 or more; 0 only for equal rounded ratios.
    """
    return stretch(rounded_aspect(one), rounded_aspect(other))


def stretch(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Computes `aspect_difference` from rounded aspect ratios, float64[N] each."""
    return np.maximum(one, other) / np.minimum(one, other) - 1


def confirm(
    hash_one: NDArray[np.uint64],
    hash_other: NDArray[np.uint64],
    size_one: NDArray[np.int64],
    size_other: NDArray[np.int64],
    *,
    hash256_limit: int = 40,
    aspect_tolerance: float = 0.03,
) -> tuple[NDArray[np.bool_], NDArray[np.int16], NDArray[np.float64]]:
    """Decides which candidate pairs count.

    Args:
        hash_one: 256-bit hashes, uint64[N, 4].
        hash_other: uint64[N, 4].
        size_one: Widths and heights in pixels, int64[N, 2].
        size_other: Widths and heights of the other pictures, int64[N, 2].
        hash256_limit: Largest distance of the 256-bit hashes that counts.
        aspect_tolerance: Largest `aspect_difference` that counts.

    Returns:
        Whether each pair counts (bool[N]), its `hash256_distance` and its `aspect_difference`.
    """
    apart = hash256_distance(hash_one, hash_other)
    stretched = aspect_difference(size_one, size_other)
    return (apart <= hash256_limit) & (stretched <= aspect_tolerance), apart, stretched
