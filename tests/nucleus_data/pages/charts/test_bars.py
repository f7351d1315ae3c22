import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.pages.charts.bars import (
    BAR_WIDTH,
    Segment,
    aspect_shape,
    bar,
    columns,
    histogram,
    stacked_bar,
)

EVIL = '<script>"&</script>'


def parse(svg: str) -> ET.Element:
    return ET.fromstring(str(svg))


def test_texts_are_escaped():
    svg = stacked_bar([Segment(EVIL, 1, "fill-kept")], EVIL)
    assert "<script" not in svg
    assert EVIL in "".join(parse(svg).itertext())
    assert parse(svg).attrib["aria-label"] == EVIL


@given(st.lists(st.floats(0, 1e9), max_size=12))
def test_a_stacked_bar_is_filled_and_shows_every_part(values):
    parts = [Segment(str(i), v, "x") for i, v in enumerate(values)]
    widths = [float(rect.attrib["width"]) for rect in parse(stacked_bar(parts, ""))]
    assert len(widths) == sum(v > 0 for v in values)
    assert all(width > 1 for width in widths)
    if widths:
        assert sum(widths) == pytest.approx(BAR_WIDTH, abs=0.2)


def test_bar_is_empty_for_zero():
    assert 'width="0.00"' in bar(0, 10, "x")
    assert 'width="1000.00"' in bar(10, 10, "x")


@given(st.lists(st.lists(st.integers(0, 10**9), max_size=5), max_size=11))
def test_columns_are_as_high_as_their_sums(stacks):
    parts = [(f"B{i}", [Segment(EVIL, n, "x") for n in one]) for i, one in enumerate(stacks)]
    svg = parse(columns(parts, EVIL))
    heights = [float(e.attrib["height"]) for e in svg if e.tag.endswith("rect")]
    assert len(heights) == sum(len(one) for one in stacks)
    most = max((sum(one) for one in stacks), default=0)
    start = 0
    for one in stacks:
        mine = sum(heights[start : start + len(one)])
        start += len(one)
        assert mine == pytest.approx(170 * sum(one) / most if most else 0, abs=0.1)


def test_histogram_draws_kept_below_all():
    svg = histogram([4, 2, 0], [1, 2, 0], 1.0, 100.0, logarithmic=True)
    every, kept = (
        [float(y) for y in re.findall(r"V([\d.]+)h", p.attrib["d"])] for p in list(parse(svg))[:2]
    )
    assert every == [6.0, 49.0, 92.0]
    assert kept == [70.5, 49.0, 92.0]
    assert ">≤1<" in svg, "what is below the logarithmic axis is in its first bin"
    assert ">10<" in svg, "the middle of a logarithmic axis is the geometric mean"


def test_aspect_shape_keeps_proportions():
    rect = next(iter(parse(aspect_shape(200, 100))))
    assert float(rect.attrib["width"]) == 2 * float(rect.attrib["height"])
