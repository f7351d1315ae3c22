from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pytest

from nucleus_data.stages.caption.failures import AskError
from nucleus_data.stages.caption.upstream import upstream_text


def text_of(value, column="x", most=5):
    return upstream_text(value, column, lambda text: len(text.split()), most)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" a {b}\n", "a {b}"),
        (1931, "1931"),
        (1931.0, "1931"),
        (0.25, "0.25"),
        (Decimal("3.10"), "3.10"),
        (True, "yes"),
        (date(1931, 5, 1), "1931-05-01"),
        (datetime(1931, 5, 1, 12), "1931-05-01T12:00:00"),
        (["Oslo", None, " ", "Bergen ", 3], "Oslo, Bergen, 3"),
    ],
)
def test_values_are_written_as_people_write_them(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize(
    "value", [None, "", " \n", "\u200f", float("nan"), float("inf"), [], [None, " "]]
)
def test_values_that_are_none(value):
    assert text_of(value) is None


ODD = [{"a": 1}, b"bytes", np.zeros(3), "a \ud800", "\ud800", [{"a": 1}]]


@pytest.mark.parametrize("value", ODD)
def test_values_that_are_no_text(value):
    with pytest.raises(AskError) as error:
        text_of(value)
    assert error.value.failure["error"] == "upstream_not_text"
    assert not error.value.failure["retryable"]
    assert error.value.failure["detail"].startswith("source.x: ")


@pytest.mark.parametrize("value", [7, ["a", "b"], 1.5])
def test_a_caption_must_be_a_text(value):
    with pytest.raises(AskError, match="it is of type"):
        text_of(value, "caption")


def test_a_value_that_is_too_long_may_be_asked_about_later():
    with pytest.raises(AskError) as error:
        text_of("word " * 6)
    assert error.value.failure["retryable"]
    assert "6 tokens, allowed caption.max_upstream_tokens=5" in error.value.failure["detail"]
    assert text_of("word " * 6, most=6)
