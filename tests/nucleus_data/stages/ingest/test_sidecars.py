import json

import pytest

from nucleus_data.stages.ingest.sidecars import (
    CAPTION,
    CAPTION_ERROR,
    CAPTIONS,
    INVALID,
    MOST_JSON,
    NOT_TEXT,
    caption_columns,
    caption_values,
    json_columns,
    merged,
)
from nucleus_data.stages.ingest.texts import ENCODING, MOST_CHARACTERS, TOO_LONG


def test_a_caption_is_a_text_or_several_or_a_reason():
    assert caption_values(" a cat ") == {CAPTION: "a cat"}
    assert caption_values(["a red cat ", None, "", "a cat"]) == {
        CAPTION: "a red cat",
        CAPTIONS: ["a red cat", "a cat"],
    }
    assert caption_values('["a red cat", "a cat"]') == caption_values(["a red cat", "a cat"])
    # Text that only looks like a list of texts is a text.
    for text in ("[a red cat, a cat]", "[1, 2]", "[]", "[" * 100_000, '["a", 1]'):
        assert caption_values(text) == {CAPTION: text}
    assert caption_values(None) == caption_values("") == caption_values([]) == {}
    assert caption_values([3, "a"]) == {CAPTION: "a", CAPTIONS: ["a"], CAPTION_ERROR: NOT_TEXT}
    assert caption_values({"en": "a"}) == {CAPTION_ERROR: NOT_TEXT}
    long = "x" * (MOST_CHARACTERS + 1)
    assert caption_values([long, "a"])[CAPTION_ERROR] == TOO_LONG


def test_bytes_of_a_caption():
    assert caption_columns("ä".encode("utf-16")) == {CAPTION: "ä"}
    assert caption_columns(b"\xe4") == {CAPTION_ERROR: ENCODING}
    assert caption_columns(b"\xe4", "cp1252") == {CAPTION: "ä"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_in_every_marked_encoding(encoding):
    content = {"caption": ["ä", "b"], "n": 3, "tags": ["x"], "s": "a\0b\ud800", "none": None}
    found = json_columns(json.dumps(content).encode(encoding))
    assert found == {
        CAPTION: "ä",
        CAPTIONS: ["ä", "b"],
        "source.n": 3,
        "source.tags": '["x"]',
        "source.s": "ab",
    }


@pytest.mark.parametrize("data", [b"[" * 100_000, b"no", b"[1]", b"\xff{}", b"1" * 5000, b""])
def test_json_that_is_no_object_is_a_reason(data):
    assert json_columns(data) == {CAPTION_ERROR: INVALID}
    assert json_columns(b"{}".ljust(MOST_JSON + 1)) == {CAPTION_ERROR: INVALID}


def test_a_caption_of_its_own_comes_before_the_jsons():
    of_json = json_columns(b'{"caption": ["one", "two"], "n": 1}')
    assert merged(of_json, caption_columns(b"own")) == {
        CAPTION: "own",
        CAPTIONS: ["own", "one", "two"],
        "source.n": 1,
    }
    assert merged(of_json, caption_columns(b"\xe4"))[CAPTION] == "one"
    assert merged({CAPTION: "one"}, caption_columns(b"own")) == {CAPTION: "own"}


def test_captions_of_json_are_a_list_of_texts_or_have_another_name():
    assert json_columns(b'{"captions": ["a", "b"]}') == {CAPTION: "a", CAPTIONS: ["a", "b"]}
    assert json_columns(b'{"captions": ["a", "b"], "caption": "c"}') == {
        CAPTION: "c",
        CAPTIONS: ["c", "a", "b"],
    }
    assert json_columns(b'{"captions": "x"}') == {f"{CAPTIONS}_upstream": "x"}
    assert json_columns(b'{"captions": {"en": "x"}}') == {f"{CAPTIONS}_upstream": '{"en": "x"}'}


def test_a_name_with_a_lone_surrogate_is_no_caption_s():
    found = json_columns(b'{"ca\\ud800ption": 3, "caption": "a", "x\\udfff": 1, "x": 2}')
    assert found == {
        CAPTION: "a",
        "source.caption_upstream": 3,
        "source.x": 1,
        "source.columns_left_out": 1,
    }
