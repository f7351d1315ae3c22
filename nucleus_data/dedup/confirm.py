"""The second opinion on a candidate pair: a 256-bit hash and the aspect ratio.

A 64-bit hash finds candidates; among billions of pairs, thousands of different pictures are that
close by chance. A pair counts only if the 256-bit hashes are near too and both images have the same
shape within a tolerance.
"""

import numpy as np
from numpy.typing import NDArray

from nucleus_data.dedup.codes import popcount


def hash256_distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.int16]:
    """Hamming distance of 256-bit hashes.

    Args:
        one: uint64[N, 4].
        other: uint64[N, 4].

    Returns:
        int16[N], 0 to 256.
    """
    return popcount(one ^ other).sum(axis=1, dtype=np.int16)


def aspect_difference(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """By how much the larger aspect ratio exceeds the smaller one: max / min - 1.

    The ratios are compared as fractions, w1 * h2 against w2 * h1, so the result is 0 only for equal
    ratios and a difference of exactly 3 % is 0.03.

    Args:
        one: Width and height, int64[N, 2], each 1 to 2^31 - 1.
        other: int64[N, 2].

    Returns:
        float64[N], 0 or more.
    """
    left = one[:, 0] * other[:, 1]
    right = other[:, 0] * one[:, 1]
    smaller = np.minimum(left, right)
    return (np.maximum(left, right) - smaller) / smaller


def confirm(
    hash_one: NDArray[np.uint64],
    hash_other: NDArray[np.uint64],
    size_one: NDArray[np.int64],
    size_other: NDArray[np.int64],
    *,
    hash256_limit: int = 40,
    aspect_tolerance: float = 0.03,
) -> tuple[NDArray[np.bool_], NDArray[np.int16], NDArray[np.float64]]:
    """Which candidate pairs count.

    Args:
        hash_one: 256-bit hashes, uint64[N, 4].
        hash_other: uint64[N, 4].
        size_one: Width and height, int64[N, 2].
        size_other: int64[N, 2].
        hash256_limit: Largest distance of the 256-bit hashes that counts.
        aspect_tolerance: Largest `aspect_difference` that counts.

    Returns:
        Whether each pair counts (bool[N]), its `hash256_distance` and its `aspect_difference`.
    """
    apart = hash256_distance(hash_one, hash_other)
    stretched = aspect_difference(size_one, size_other)
    return (apart <= hash256_limit) & (stretched <= aspect_tolerance), apart, stretched
