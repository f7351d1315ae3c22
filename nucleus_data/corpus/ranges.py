"""Reading many ranges of a file in few requests."""

from collections.abc import Iterator

import numpy as np


def joined(
    offsets: np.ndarray, sizes: np.ndarray, gap: int, most: int
) -> Iterator[tuple[int, int]]:
    """Which ranges of a file to read in one request each.

    Args:
        offsets: Where each range begins, ascending.
        sizes: Its bytes.
        gap: Bytes between two ranges that are read too.
        most: Bytes of a request, but for one larger range.

    Yields:
        First and last (not included) number of the ranges of a request.
    """
    first = 0
    for i in range(1, len(offsets) + 1):
        if i == len(offsets) or (
            offsets[i] - (offsets[i - 1] + sizes[i - 1]) > gap
            or offsets[i] + sizes[i] - offsets[first] > most
        ):
            yield first, i
            first = i
