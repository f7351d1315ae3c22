import hashlib
import json

import pytest

from nucleus_data.stages.caption.prompts import (
    FOLDER,
    PROMPTS,
    VERSIONS,
    find_prompt,
    question,
    read_text,
    schema_text,
    versions,
)

# A file that is once in the package never changes: another text is another version.
FILES = {
    "attributes@1.json": "3eb1b5e8fa42",
    "attributes@1.txt": "85f5adb0fa9a",
    "long@1.txt": "f148fa712ea7",
    "medium@1.txt": "a0c2a0bb5f30",
    "medium_from@1.txt": "9e8221b054de",
    "refine@1.txt": "b30957527220",
    "short@1.txt": "df9a94848513",
    "short_from@1.txt": "f02b61666181",
    "tags@1.txt": "eefde0faeaaa",
    "user_prompt@1.txt": "25e6e35e877e",
    "very_short@1.txt": "c574d3ad6479",
    "very_short_from@1.txt": "509dd6190a80",
}


def test_the_record_s_caption_stands_in_its_place():
    text = PROMPTS["refine"]
    assert "{caption}" in text
    assert "Someone wrote of this image: a {odd} cat\n" in question(text, " a {odd} cat ")


@pytest.mark.parametrize("caption", [None, "", "  \n", "\x00\x07", "\u200f\u202e", "\ufeff"])
def test_no_caption_reads_as_nothing(caption):
    assert question(PROMPTS["refine"], caption).startswith("Someone wrote of this image: nothing\n")
    assert question(PROMPTS["short"], caption) == PROMPTS["short"]


def test_a_published_prompt_keeps_its_text():
    found = {path.name: hashlib.sha256(path.read_bytes()) for path in FOLDER.iterdir()}
    assert {name: found[name].hexdigest()[:12] for name in sorted(found)} == FILES
    assert PROMPTS["short"] == (
        "Describe this image in two sentences: the objects, then the background."
    )


def test_a_name_without_a_version_is_version_1_whatever_the_package_has(monkeypatch):
    monkeypatch.setitem(VERSIONS, "short@2", "Another text.")
    assert versions("short") == [1, 2]
    assert find_prompt("short") == find_prompt("short@1")
    assert find_prompt("short").name == "short@1"
    assert find_prompt("short@2").text == "Another text."


def test_a_prompt_may_have_a_schema_beside_it():
    found = find_prompt("attributes")
    assert list(json.loads(found.schema)["properties"]) == [
        "type",
        "style",
        "text",
        "watermark",
        "quality",
    ]
    assert find_prompt("short").schema is None
    assert all((FOLDER / f"{path.stem}.txt").is_file() for path in FOLDER.glob("*.json"))


def test_a_file_of_the_user_s_own(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("Say what is there.\nBriefly.\n")
    found = find_prompt(str(path))
    assert (found.name, found.text) == (str(path), "Say what is there.\nBriefly.")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("shrt", r"unknown prompt .*; give its text.* short, .* Did you mean 'short'\?"),
        ("short@9", "no prompt 'short@9'; available: short@1"),
        ("short@", "unknown prompt"),
        ("no/such.txt", "no/such.txt can't be read: no such file"),
        ("no_such.txt", "no_such.txt can't be read"),
    ],
)
def test_prompts_that_are_not_there(named, said):
    with pytest.raises(ValueError, match=said):
        find_prompt(named)


@pytest.mark.parametrize(("content", "said"), [(b" \n", "is empty"), (b"\xff", "not UTF-8 text")])
def test_files_that_hold_no_text(tmp_path, content, said):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_text(str(tmp_path / "x.txt"), "a prompt's text")


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfSay it.\r\n")
    assert read_text(str(tmp_path / "x.txt"), "a prompt's text") == "Say it."


def test_the_order_of_a_schema_s_keys_stays():
    text = '{"type": "object", "properties": {"z": {"type": "string"}, "a": {}}}'
    assert schema_text(text) == text.replace(" ", "")
    assert schema_text(json.loads(text)) == schema_text(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{", "not valid JSON"),
        ({"type": "array"}, "describe an object"),
        ({"type": "object", "x": {1}}, "JSON"),
    ],
)
def test_schemas_that_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        schema_text(given)
