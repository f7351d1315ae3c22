"""Merges ranges of a file, to read them in few requests."""

from collections.abc import Iterator

import numpy as np


def joined(
    offsets: np.ndarray, sizes: np.ndarray, gap: int, most: int
) -> Iterator[tuple[int, int]]:
    """Groups adjacent ranges of a file, each group to be read in one request.

    Args:
        offsets: (N,) offset of each range in bytes, ascending.
        sizes: (N,) size of each range in bytes.
        gap: Maximum bytes between two ranges of a group, which are read as well.
        most: Maximum bytes per request, except for a single larger range.

    Yields:
        Half-open index intervals [first, end) of the ranges of each group.
    """
    first = 0
    for i in range(1, len(offsets) + 1):
        if i == len(offsets) or (
            offsets[i] - (offsets[i - 1] + sizes[i - 1]) > gap
            or offsets[i] + sizes[i] - offsets[first] > most
        ):
            yield first, i
            first = i
