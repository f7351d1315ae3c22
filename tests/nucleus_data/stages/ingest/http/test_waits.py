from datetime import UTC, datetime

import pytest

from nucleus_data.stages.ingest.http.waits import PASSING, backoff, retry_after

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 120 ", 120),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30),
        ("9" * 40, 999_999_999),
        *((value, None) for value in (None, "", "soon", "-3", "1.5", "³")),
        ("Thu, 01 Jan 2026 12:00:30 -99999999999999999999", None),
    ],
)
def test_both_forms_of_retry_after(value, seconds):
    assert retry_after(value, NOW) == seconds


def test_waits_double_with_jitter_up_to_a_limit():
    first = [backoff(f"http://h/{n}", 1, 60) for n in range(200)]
    third = [backoff(f"http://h/{n}", 3, 60) for n in range(200)]
    assert 0.5 <= min(first) < 0.6
    assert 1.4 < max(first) <= 1.5
    assert 2 <= min(third) < max(third) <= 6
    assert backoff("http://h/1", 20, 60) == 60
    assert first == [backoff(f"http://h/{n}", 1, 60) for n in range(200)]


def test_which_statuses_may_pass():
    passing = {status for status in range(100, 600) if status in PASSING}
    assert passing == {408, 425, 429, *range(500, 600)}
