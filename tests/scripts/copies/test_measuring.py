"""The default order of `select.prefer` on pairs whose better copy is known."""

import pytest

from nucleus_data.stages.compare.preference import PREFER
from scripts import bench_copies
from scripts.bench_copies import SIZE_PREFER
from scripts.copies.measuring import Work, answers, measured, together
from scripts.copies.originals import Original
from scripts.copies.variants import VARIANTS

# What is told apart with certainty, of each kind; the bench counts the others too.
SURE = {
    ("grey", "luma"),
    ("desaturated", "0.1"),
    ("enlarged", "x1.5 bilinear"),
    ("enlarged", "x3 lanczos"),
    ("over-sharpened", "3 250"),
    ("recompressed", "JPEG 20"),
    ("recompressed, saved again", "JPEG 20"),
    ("WebP or AVIF", "WebP 20"),
    ("blurred", "2"),
    ("noisy", "20"),
    ("few colours", "GIF 16"),
    ("few colours, saved again", "16 flat"),
    ("posterised", "2 bits"),
    ("framed", "black 5 %"),
    ("dithered", "black and white"),
    ("thumbnail enlarged", "1/4"),
    ("colour at half the scale", "JPEG 75"),
}
PLACES = tuple(i for i, v in enumerate(VARIANTS) if v.smaller or (v.kind, v.name) in SURE)


@pytest.fixture(scope="module")
def rows():
    return [
        *measured(Work(Original("texture", 0), PLACES, compared=False)),
        *measured(Work(Original("world", 0), PLACES, compared=False)),
    ]


def wrong(rows, prefer):
    return [(v.kind, v.name, row["group"]) for row, v, right in answers(rows, prefer) if not right]


@pytest.mark.slow
def test_the_better_copy_survives(rows):
    assert wrong(rows, PREFER) == []


@pytest.mark.slow
def test_sizes_and_bytes_alone_keep_the_worse_one(rows):
    kinds = {kind for kind, *_ in wrong(rows, SIZE_PREFER)}
    assert kinds >= {"enlarged", "over-sharpened", "noisy", "framed", "dithered"}
    assert "smaller" not in kinds


@pytest.mark.slow
def test_comparing_them_keeps_the_better_copy_too():
    rows = measured(Work(Original("world", 0), PLACES[::6]))
    assert [(v.kind, v.name) for _, v, right in together(rows, SIZE_PREFER) if not right] == []
    assert not all(right for *_, right in answers(rows, SIZE_PREFER))


@pytest.mark.slow
def test_the_table_counts_each_kind_of_odd_originals(rows):
    assert [measure.name for measure in bench_copies.table(rows, PREFER)] == ["fitted"]
    odd = [{**row, "number": 1} for row in rows]
    found = {measure.name: measure for measure in bench_copies.table(odd, PREFER)}
    assert found["copies that are smaller"].met
    assert "all kinds" in found
