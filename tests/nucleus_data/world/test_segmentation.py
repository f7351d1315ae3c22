from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nucleus_data.world.segmentation import components

pytestmark = pytest.mark.slow


def test_components_by_hand():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 1, 1], [1, 0, 0, 0]], dtype=bool)
    assert components(mask).tolist() == [[1, 1, 0, 2], [0, 0, 0, 2], [3, 0, 2, 2], [3, 0, 0, 0]]


@settings(max_examples=60)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_components_are_those_of_a_flood_fill(mask):
    labels = components(mask)
    assert ((labels > 0) == mask).all()
    seen = np.zeros_like(labels)
    count = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if seen[start]:
            continue
        count += 1
        waiting = [start]
        while waiting:
            y, x = waiting.pop()
            inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
            if inside and mask[y, x] and not seen[y, x]:
                seen[y, x] = count
                waiting += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    pairs = Counter(zip(labels[mask].tolist(), seen[mask].tolist(), strict=True))
    assert len(pairs) == count == labels.max()
