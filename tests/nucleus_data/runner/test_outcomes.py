"""Details of failures, as they are stored."""

import io

import pytest
from PIL import Image, UnidentifiedImageError

from nucleus_data.runner.outcomes import DETAIL_CHARACTERS, as_row, clean, raised


def test_a_detail_is_the_same_in_each_run():
    found = set()
    streams = [io.BytesIO(b"no picture" * n) for n in range(1, 4)]  # at addresses of their own
    for stream in streams:
        with pytest.raises(UnidentifiedImageError) as caught:
            Image.open(stream)
        assert " at 0x" in str(caught.value)
        found.add(raised(caught.value))
    assert found == {"UnidentifiedImageError: cannot identify image file <_io.BytesIO object>"}


def test_a_detail_is_valid_text_of_limited_length():
    assert clean("a\udce9b") == "a?b"
    assert len(clean("x" * 9999)) == DETAIL_CHARACTERS


def test_a_detail_is_kept_where_the_stage_says_so():
    found = {"error": "truncated", "detail": "after 7 bytes", "retryable": False}
    assert as_row(found, with_detail=True) == {"error": "truncated", "detail": "after 7 bytes"}
    assert as_row(found, with_detail=False) == {"error": "truncated"}
    assert as_row({"width": 3}, with_detail=True) == {"width": 3}
