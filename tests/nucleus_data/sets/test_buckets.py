import duckdb
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.sets.buckets import SIZES_1024, aspect_sql, bucket_size, centre_crop
from tests.support.sharded import nearest


def test_nearest_holds_for_every_size():
    sizes = [(w, h) for w in range(20, 400, 13) for h in range(20, 400, 13)]
    rows = ", ".join(f"({w}, {h})" for w, h in sizes)
    for aspects in (tuple(SIZES_1024), ("16x9", "1x1"), ("2x3",)):
        query = f"SELECT {aspect_sql(aspects)} FROM (VALUES {rows}) t(width, height)"
        found = [row[0] for row in duckdb.sql(query).fetchall()]
        assert found == [nearest(w, h, aspects) for w, h in sizes]


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(sorted(SIZES_1024)))
def test_a_crop_is_the_largest_centred_box_of_its_ratio(width, height, aspect):
    target = bucket_size(256, aspect, 16)
    left, top, right, bottom = centre_crop(width, height, target)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == width or bottom - top == height
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1
    ratio = target[0] / target[1]
    box = (right - left, bottom - top)
    assert abs(box[0] - box[1] * ratio) <= max(1, ratio) or 1 in box


def test_sizes_of_buckets():
    assert bucket_size(1024, "16x9", 16) == (1344, 768)
    assert bucket_size(64, "1x1", 8) == (64, 64)
    assert bucket_size(256, "3x2", 16) == (320, 208)
    assert bucket_size(8, "9x16", 32) == (32, 32)
    for resolution in (64, 256, 512, 1024):
        for aspect in SIZES_1024:
            assert not any(side % 32 for side in bucket_size(resolution, aspect, 32))
