import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.sets.buckets import (
    FORTY,
    NAMED,
    SEVEN,
    SIZES_1024,
    bucket_size,
    crops,
    nearest,
    sizes_at,
)
from tests.support import sharded

SIDE = st.integers(1, 5000)
ASPECT = st.sampled_from(sorted({*SEVEN, *FORTY}))


@pytest.mark.slow
@pytest.mark.parametrize("aspects", [SEVEN, ("16x9", "1x1"), ("2x3",), tuple(FORTY)])
def test_nearest_holds_for_every_size(aspects):
    pictures = [(w, h) for w in range(20, 400, 13) for h in range(20, 400, 13)]
    sizes = sizes_at(256, aspects, 16)
    found = nearest(*np.array(pictures).T, list(sizes.values()))
    for (width, height), number in zip(pictures, found.tolist(), strict=True):
        wanted = sizes[sharded.nearest(width, height, sizes)]
        assert sizes[aspects[number]] == wanted


def box(picture, target, place=(0.5, 0.5)):
    sides = [np.array([side]) for side in (*picture, *target)]
    (found,) = crops(*sides[:2], tuple(sides[2:]), place).tolist()
    return found


@given(SIDE, SIDE, ASPECT)
def test_a_crop_is_the_largest_centred_box_of_its_ratio(width, height, aspect):
    target = bucket_size(256, aspect, 16)
    left, top, right, bottom = box((width, height), target)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == width or bottom - top == height
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1
    ratio = target[0] / target[1]
    cut = (right - left, bottom - top)
    assert abs(cut[0] - cut[1] * ratio) <= max(1, ratio) or 1 in cut


@given(SIDE, SIDE, ASPECT, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_crop_has_its_size_wherever_it_lies(width, height, aspect, x, y):
    target = bucket_size(256, aspect, 16)
    centred = box((width, height), target)
    left, top, right, bottom = box((width, height), target, (x, y))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert (right - left, bottom - top) == (centred[2] - centred[0], centred[3] - centred[1])


def test_sizes_of_buckets():
    assert bucket_size(1024, "16x9", 16) == (1344, 768)
    assert bucket_size(64, "1x1", 8) == (64, 64)
    assert bucket_size(256, "3x2", 16) == (320, 208)
    assert bucket_size(8, "9x16", 32) == (32, 32)
    for resolution in (64, 256, 512, 1024):
        for aspect in SIZES_1024:
            assert not any(side % 32 for side in bucket_size(resolution, aspect, 32))


def test_forty_buckets_are_by_rule():
    assert len(NAMED["forty"]) == len(FORTY) == 40
    ratios = list(FORTY.values())
    assert (ratios[0], ratios[20], ratios[-1]) == (0.25, 1.0, 4.0)
    assert ratios == sorted(ratios)
    for name in FORTY:
        width, height = bucket_size(1024, name, 16)
        assert width % 16 == height % 16 == 0
        assert width * height == pytest.approx(1024 * 1024, rel=0.03)
        assert width / height == pytest.approx(FORTY[name], rel=0.04)
    assert bucket_size(1024, "0.25", 16) == (512, 2048)
    assert bucket_size(512, "1.00", 16) == (512, 512)
