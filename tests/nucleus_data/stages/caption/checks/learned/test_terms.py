from collections import Counter

import pytest

from nucleus_data.stages.caption.checks.learned.terms import (
    FOLDER,
    around,
    classes,
    read,
    sentences,
    symbols,
    terms,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A ring. It is red!", ["A ring.", "It is red!"]),
        ("A ring of 3.5 cm", ["A ring of 3.5 cm"]),
        ("A ring\n\n---\nTwo rings", ["A ring", "---", "Two rings"]),
        ('A sign "". (It is red.) Two rings', ['A sign "".', "(It is red.)", "Two rings"]),
        ("", []),
    ],
)
def test_sentences(text, found):
    assert sentences(text) == found


def test_words_are_read_as_their_classes_and_short_forms_are_written_out():
    seen = symbols("I can't describe it.", first=True)
    assert [symbol for _, symbol in seen] == ["^^", "SELF", "ABLE", "NOT", "DESCRIBE", "it", "$."]
    assert [word for word, _ in seen] == ["^^", "i", "can", "not", "describe", "it", "$."]
    assert symbols("A ring", first=False)[0] == ("^", "^")
    assert read("we've") == (("we", "WE"), ("have", "HAVE"))
    assert read("12") == (("0", "0"),)


def test_no_word_has_two_classes():
    words = [
        word
        for line in (FOLDER / "classes.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith(("#", "["))
        for word in line.split()
    ]
    assert [word for word, count in Counter(words).items() if count > 1] == []
    assert len(words) == sum(map(len, classes()))


def test_terms_are_words_classes_pairs_and_triples():
    found = {term for _, _, term in terms(symbols("I can not say", first=False))}
    assert {"i", "SELF", "^ SELF", "SELF ABLE", "SELF .. NOT", "SELF ABLE NOT", "say $"} <= found
    assert "^ .. say" in found
    assert "^ .. $" not in found


def test_what_stands_around_a_sentence():
    alone = around([symbols("Sure!", first=True)])
    assert alone == [["~plain 0", "~words 0", "~alone"]]
    both = [symbols("Sure!", first=True), symbols("Wet cobbles below tall towers.", first=False)]
    assert around(both)[0] == ["~plain 0", "~words 0", "~beside a caption"]
    assert around(both)[1][0] == "~plain 4"
    assert "~caption behind :" in around([symbols("Here: wet cobbles below towers", True)])[0]
