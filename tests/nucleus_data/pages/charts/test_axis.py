import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.pages.charts.axis import short, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_inside(low, span):
    high = low + span
    found = ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert len(found) <= 12
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (12000, "12k"),
        (3e6, "3M"),
        (2e-5, "2e-5"),
        (2e-4, "0.0002"),
        (999_800, "1M"),
        (9.998e8, "1G"),
    ],
)
def test_short(value, text):
    assert short(value) == text
