import pytest

from nucleus_data.pages.charts.forest_plot import Line, forest

BAD = "<script>alert(1)</script>"


@pytest.mark.parametrize("direction", ["better", "described"])
def test_better_is_to_the_right_and_unbounded_reaches_the_edge(direction):
    low = float("-inf")
    drawn = forest([Line(BAD * 2, 1.0, low, 2.0, direction, BAD)], "units")
    assert f'<g class="forest {direction}">' in drawn
    assert "<script" not in drawn
    assert "M190.0 33.0H" in drawn
    # A label that would run into the axis is cut amid: ends tell addresses apart.
    assert "&lt;script&gt;aler…" in drawn
    assert "t(1)&lt;/script&gt;</text>" in drawn
