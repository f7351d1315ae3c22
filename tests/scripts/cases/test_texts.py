"""Captions made worse: exactly as many as asked, and really worse."""

import pytest

from scripts.cases.texts import shortened, swapped

TEXTS = {f"{number:032x}": f"The {word} star" for number, word in enumerate("abcdefghijklmnopqrst")}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 1.0])
def test_a_share_of_the_pictures_has_captions_of_others(share):
    found = swapped(TEXTS, share)
    changed = [ident for ident in TEXTS if found[ident] != TEXTS[ident]]
    assert len(changed) == round(share * len(TEXTS))
    assert sorted(found[ident] for ident in changed) == sorted(TEXTS[ident] for ident in changed)


def test_more_swapped_are_the_same_and_others():
    few, many = (
        {ident for ident, text in swapped(TEXTS, share).items() if text != TEXTS[ident]}
        for share in (0.1, 0.3)
    )
    assert few < many


def test_a_caption_of_another_picture_says_something_else():
    twice = {ident: "a b"[:: 1 if number % 2 else 2] for number, ident in enumerate(TEXTS)}
    assert all(text != twice[ident] for ident, text in swapped(twice, 1.0).items())
    same = dict.fromkeys(TEXTS, "a star")
    assert swapped(same, 1.0) == same


def test_short_captions_have_one_word_that_is_no_article():
    texts = {
        "1": "A red apple.",
        "2": "the moon",
        "3": "Apple: red",
        "4": "An",
        "5": "a\nsmall cat",
    }
    assert shortened(texts) == {"1": "red", "2": "moon", "3": "Apple", "4": "An", "5": "small"}
    assert sum(text != TEXTS[ident] for ident, text in shortened(TEXTS, 0.5).items()) == 10
