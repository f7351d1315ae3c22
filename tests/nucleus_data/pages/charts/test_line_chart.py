import math
import re
from xml.etree import ElementTree as ET

import pytest

from nucleus_data.pages.charts.line_chart import Series, line_chart, thin

EVIL = '<script>"&</script>'


def parse(svg: str) -> ET.Element:
    return ET.fromstring(str(svg))


def test_texts_are_escaped():
    svg = line_chart([Series(EVIL, [(0, 1), (1, 2)], "line-a")], EVIL, EVIL)
    assert "<script" not in svg
    assert EVIL in "".join(parse(svg).itertext())


def test_line_chart_leaves_out_what_is_not_finite():
    points = [(0, 3.0), (1, math.nan), (2, math.inf), (3, 1.0)]
    svg = line_chart([Series("loss", points, "line-a", marks=True)], "step", "loss")
    assert "nan" not in svg
    assert "inf" not in svg
    assert svg.count("<circle") == 2


@pytest.mark.parametrize("points", [[], [(5, 2.0)], [(0, 1.0), (1, 1.0)]])
def test_line_chart_draws_little_or_flat_data(points):
    parse(line_chart([Series("loss", points, "line-a")], "step", "loss"))


def test_error_bars_are_drawn_at_their_points_and_inside():
    points, spans = [(0.0, 0.5), (1.0, 0.6)], [(0.1, 0.9), (0.5, 1.7)]
    svg = str(line_chart([Series("a", points, "line-a", True, spans)], "x", "y", 700, 300))
    bars = re.findall(r'd="M([\d.]+) ([\d.]+)V([\d.]+)M', svg)
    circles = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert len(bars) == len(circles) == 2
    for (x, low, high), (middle, y) in zip(bars, circles, strict=True):
        assert x == middle
        assert 0 < float(high) < float(y) < float(low) < 300


def test_thin_keeps_means():
    points = [(float(i), float(i % 2)) for i in range(1000)]
    few = thin(points, 10)
    assert len(few) == 10
    assert few[0] == (49.5, 0.5)
    assert thin(points[:10], 10) == points[:10]
