import pytest

from nucleus_data.stages.caption.places import unknown_places
from nucleus_data.stages.caption.prompts import PLACEHOLDER, PROMPTS, question


def test_the_record_s_caption_stands_in_its_place():
    text = PROMPTS["refine"]
    assert PLACEHOLDER in text
    assert "Someone wrote of this image: a {odd} cat\n" in question(text, " a {odd} cat ")


@pytest.mark.parametrize("caption", [None, "", "  \n", "\x00\x07", "\u200f\u202e", "\ufeff"])
def test_no_caption_reads_as_nothing(caption):
    assert question(PROMPTS["refine"], caption).startswith("Someone wrote of this image: nothing\n")
    assert question(PROMPTS["short"], caption) == PROMPTS["short"]


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("Of {caption}: {alt_text}, {source.alt}", ["alt_text"]),
        ('Answer {"objects": []}, {}, {0}, {{name}} or $\\frac{a}{2}$.', []),
    ],
)
def test_names_in_braces_that_nothing_stands_for(text, unknown):
    assert unknown_places(text) == unknown
