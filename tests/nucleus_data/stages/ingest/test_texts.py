import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.stages.ingest.texts import (
    ENCODING,
    MOST_BYTES,
    MOST_CHARACTERS,
    TOO_LONG,
    Decoded,
    caption,
    cleaned,
    decode,
    decoded,
)

TEXT = "ein Kätzchen 猫 🐈"
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", MARKS)
def test_a_mark_says_the_encoding(encoding):
    assert decode(MARKS[encoding] + TEXT.encode(encoding)) == Decoded(TEXT)
    # A mark outweighs the setting, and a text that breaks its mark's promise is none.
    assert decode(MARKS[encoding] + TEXT.encode(encoding), "latin-1") == Decoded(TEXT)
    assert decode(MARKS[encoding] + b"\xff\xff\xff", "latin-1") == Decoded(None, ENCODING)


def test_without_a_mark_it_is_strict_utf8_or_what_is_named_and_no_guess():
    assert decode(TEXT.encode()) == Decoded(TEXT)
    assert decode("Kätzchen".encode("latin-1")) == Decoded(None, ENCODING)
    assert decode("Kätzchen".encode("latin-1"), "latin-1") == Decoded("Kätzchen")
    assert decode("Kätzchen".encode(), "latin-1") == Decoded("Kätzchen")
    assert decode("猫".encode("shift-jis"), "ascii") == Decoded(None, ENCODING)
    assert decode(b"\xed\xa0\x80 a surrogate in UTF-8") == Decoded(None, ENCODING)


@pytest.mark.parametrize("text", ["a cat on a mat", "привет, мир", "a Kätzchen"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark_is_not_taken_for_other_letters(text, encoding):
    assert decode(text.encode(encoding)) == Decoded(None, ENCODING)
    assert decode(text.encode(encoding), encoding) == Decoded(text)


def test_control_characters_go_out_and_words_stay_apart():
    assert decode(b"a cat\0\0 on a mat") == Decoded("a cat on a mat")
    assert decode(b"a cat".ljust(64, b"\0")) == Decoded("a cat")
    assert decode(b"\x1b[31mred\x07 on\x0bblack\x7f\r\n\tand white") == Decoded(
        "[31mred on black\r\n\tand white"
    )
    assert cleaned("a\x85b\x9bc") == "a bc"
    assert cleaned("\ud83d\ude00 a\udcffb") == " ab"
    assert cleaned("👩‍🚀\u202e\u200b") == "👩‍🚀\u202e\u200b"  # no control characters: letters


def test_white_space_around_a_caption_is_none_of_it():
    assert decode(b"\xef\xbb\xbf a cat\r\n") == Decoded("a cat")
    assert decode(b" \n\0\t") == decode(b"") == Decoded(None)


def test_a_text_that_is_too_long_is_no_caption():
    assert decode(b"x" * MOST_CHARACTERS) == Decoded("x" * MOST_CHARACTERS)
    assert decode(b" " + "ä".encode() * (MOST_CHARACTERS + 1)) == Decoded(None, TOO_LONG)
    assert caption("ä" * (MOST_CHARACTERS + 1)) == Decoded(None, TOO_LONG)
    assert decode(b" " * (MOST_BYTES + 1)) == Decoded(None, TOO_LONG)


@given(st.binary(max_size=40), st.sampled_from([None, "utf-16-le", "cp1252", "utf-7"]))
def test_no_letter_is_ever_replaced(data, encoding):
    found = decode(data, encoding)
    assert (found.text is None) or (found.reason is None)
    if found.text is not None:
        text = decoded(data, encoding)
        assert set(found.text) <= {*text, " "}
        assert found.text.encode()  # no surrogate
        assert not any(ord(c) < 32 and c not in "\t\r\n" for c in found.text)
