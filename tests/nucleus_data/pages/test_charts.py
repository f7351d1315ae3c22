import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.pages import charts

EVIL = '<script>"&</script>'


def parse(svg: str) -> ET.Element:
    return ET.fromstring(str(svg))


def test_texts_are_escaped():
    bar = charts.stacked_bar([charts.Segment(EVIL, 1, "fill-kept")], EVIL)
    line = charts.line_chart([charts.Series(EVIL, [(0, 1), (1, 2)], "line-a")], EVIL, EVIL)
    for svg in (bar, line):
        assert "<script" not in svg
        assert EVIL in "".join(parse(svg).itertext()) + parse(svg).attrib["aria-label"]


@given(st.lists(st.floats(0, 1e9), max_size=12))
def test_a_stacked_bar_is_filled_and_shows_every_part(values):
    parts = [charts.Segment(str(i), v, "x") for i, v in enumerate(values)]
    widths = [float(rect.attrib["width"]) for rect in parse(charts.stacked_bar(parts, ""))]
    assert len(widths) == sum(v > 0 for v in values)
    assert all(width > 1 for width in widths)
    if widths:
        assert sum(widths) == pytest.approx(charts.BAR_WIDTH, abs=0.2)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_inside(low, span):
    high = low + span
    found = charts.ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert len(found) <= 12
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert found == sorted(found)


def test_line_chart_leaves_out_what_is_not_finite():
    points = [(0, 3.0), (1, math.nan), (2, math.inf), (3, 1.0)]
    svg = charts.line_chart([charts.Series("loss", points, "line-a", marks=True)], "step", "loss")
    assert "nan" not in svg
    assert "inf" not in svg
    assert svg.count("<circle") == 2


@pytest.mark.parametrize("points", [[], [(5, 2.0)], [(0, 1.0), (1, 1.0)]])
def test_line_chart_draws_little_or_flat_data(points):
    parse(charts.line_chart([charts.Series("loss", points, "line-a")], "step", "loss"))


@given(st.lists(st.lists(st.integers(0, 10**9), max_size=5), max_size=11))
def test_columns_are_as_high_as_their_sums(stacks):
    parts = [(f"B{i}", [charts.Segment(EVIL, n, "x") for n in one]) for i, one in enumerate(stacks)]
    svg = parse(charts.columns(parts, EVIL))
    heights = [float(e.attrib["height"]) for e in svg if e.tag.endswith("rect")]
    assert len(heights) == sum(len(one) for one in stacks)
    most = max((sum(one) for one in stacks), default=0)
    start = 0
    for one in stacks:
        mine = sum(heights[start : start + len(one)])
        start += len(one)
        assert mine == pytest.approx(170 * sum(one) / most if most else 0, abs=0.1)


def test_thin_keeps_means():
    points = [(float(i), float(i % 2)) for i in range(1000)]
    few = charts.thin(points, 10)
    assert len(few) == 10
    assert few[0] == (49.5, 0.5)
    assert charts.thin(points[:10], 10) == points[:10]


def test_histogram_draws_kept_below_all():
    svg = charts.histogram([4, 2, 0], [1, 2, 0], 1.0, 100.0, logarithmic=True)
    every, kept = (
        [float(y) for y in re.findall(r"V([\d.]+)h", p.attrib["d"])] for p in list(parse(svg))[:2]
    )
    assert every == [6.0, 49.0, 92.0]
    assert kept == [70.5, 49.0, 92.0]
    assert ">≤1<" in svg, "what is below the logarithmic axis is in its first bin"
    assert ">10<" in svg, "the middle of a logarithmic axis is the geometric mean"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (12000, "12k"), (3e6, "3M"), (2e-5, "2e-5"), (2e-4, "0.0002")],
)
def test_short(value, text):
    assert charts.short(value) == text


def test_aspect_shape_keeps_proportions():
    rect = next(iter(parse(charts.aspect_shape(200, 100))))
    assert float(rect.attrib["width"]) == 2 * float(rect.attrib["height"])


def test_bar_is_empty_for_zero():
    assert 'width="0.00"' in charts.bar(0, 10, "x")
    assert 'width="1000.00"' in charts.bar(10, 10, "x")


def test_error_bars_are_drawn_at_their_points_and_inside():
    points, spans = [(0.0, 0.5), (1.0, 0.6)], [(0.1, 0.9), (0.5, 1.7)]
    svg = str(
        charts.line_chart([charts.Series("a", points, "line-a", True, spans)], "x", "y", 700, 300)
    )
    bars = re.findall(r'd="M([\d.]+) ([\d.]+)V([\d.]+)M', svg)
    circles = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert len(bars) == len(circles) == 2
    for (x, low, high), (middle, y) in zip(bars, circles, strict=True):
        assert x == middle
        assert 0 < float(high) < float(y) < float(low) < 300
