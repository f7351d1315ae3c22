import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.words import Words


@pytest.mark.parametrize(
    ("text", "words", "wrong"),
    [
        ("a red circle", None, False),
        ("a red circle", (3, 5), False),
        ("a red circle", (4, 8), False),
        ("a red circle", (5, 8), True),
        ("one two three four five six", (1, 5), False),
        ("one two three four five six seven", (1, 5), True),
        ("一个红色的圆环", (4, 6), False),
        ("一个红色的圆环", (10, 20), True),
        ("- a -- b !", (2, 2), False),
    ],
)
def test_lengths(text, words, wrong):
    assert (Words().find(Said(text, words=words)) is not None) == wrong


def test_it_says_what_was_asked_for():
    found = Words(slack=0).find(Said("a b", words=(3, 4)))
    assert found == "it has 2 words, asked for are 3 to 4, 0% more or less"
