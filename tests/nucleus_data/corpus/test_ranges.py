"""Every range is in one request, and no request is longer or has a larger gap than it may."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.corpus.ranges import joined


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30))), st.integers(0, 10))
def test_ranges_are_joined(pieces, gap):
    most = 40
    offsets, sizes, at = [], [], 0
    for before, size in pieces:
        offsets.append(at + before)
        sizes.append(size)
        at += before + size
    found = list(joined(np.array(offsets, int), np.array(sizes, int), gap, most))
    assert [n for first, last in found for n in range(first, last)] == list(range(len(pieces)))
    for first, last in found:
        length = offsets[last - 1] + sizes[last - 1] - offsets[first]
        assert length <= most or last == first + 1
        for n in range(first + 1, last):
            assert offsets[n] - offsets[n - 1] - sizes[n - 1] <= gap
    for (first, last), (after, _) in pairwise(found):  # no two of them could be one
        whole = offsets[after] + sizes[after] - offsets[first]
        assert offsets[after] - offsets[last - 1] - sizes[last - 1] > gap or whole > most
