import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.printed import amount, has_surrogate, jsonable, text_of, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("title\x1b]0;T\x07", r"title\x1b]0;T\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("gpj\u202egpj.exe", r"gpj\u202egpj.exe"),
        ("\u2066a\u2069\u200f", r"\u2066a\u2069\u200f"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("\ufeffbom", r"\ufeffbom"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["plain", "Łódź, 猫", "a\u200cb", "👩\u200d🚀", "e\u0301"])
def test_text_stays(text):
    assert visible(text) == text


def test_line_ends_stay_where_they_are_meant():
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_bytes_are_their_text_or_hex_digits():
    assert text_of("Łódź".encode()) == "Łódź"
    assert text_of(b"\xff\x00") == "ff00"
    assert text_of(b"\x1b[2J") == "1b5b324a"


def test_json_is_what_any_reader_takes():
    content = {"a": float("nan"), "b": [b"\xff", (1, None, True)], 3: float("-inf"), "c": 1.5}
    text = json.dumps(jsonable(content), allow_nan=False)
    assert json.loads(text) == {
        "a": "nan",
        "b": ["ff", [1, None, True]],
        "3": "-inf",
        "c": 1.5,
    }


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (999.7, "1 kB"),
        (1_234, "1.23 kB"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (5_000_000_000, "5 GB"),
        (1_500_000_000_000_000, "1,500.0 TB"),
    ],
)
def test_bytes_as_a_person_reads_them(size, shown):
    assert amount(size) == shown


@given(st.text(st.characters(codec=None, categories=None), max_size=5))
def test_a_text_without_surrogates_is_one_that_can_be_written(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        assert has_surrogate(text)
    else:
        assert not has_surrogate(text)


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb", os.fsdecode(b"\xff")])
def test_half_a_letter_is_found(text):
    assert has_surrogate(text)
