from collections import Counter

import pytest

from nucleus_data.stages.caption.checks.learned.terms import (
    FOLDER,
    classes,
    context,
    read_sentence,
    read_token,
    sentences,
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
    seen = read_sentence("I can't describe it.", first=True)
    assert seen.symbols == ["^^", "SELF", "ABLE", "NOT", "DESCRIBE", "it", "$."]
    assert seen.words == ["^^", "i", "can", "not", "describe", "it", "$."]
    assert read_sentence("A ring", first=False).words[0] == "^"
    assert read_token("we've")[:2] == (("we", "have"), ("WE", "HAVE"))
    assert read_token("12")[:2] == (("0",), ("0",))


def test_a_sentence_counts_its_words_without_class():
    seen = read_sentence("I can't describe 2 qwxyz rings of it.", first=True)
    assert seen.plain == 4  # qwxyz, rings, of, it


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
    found = {term for _, _, term in terms(read_sentence("I can not say", first=False))}
    assert {"i", "SELF", "^ SELF", "SELF ABLE", "SELF .. NOT", "SELF ABLE NOT", "say $"} <= found
    assert "^ .. say" in found
    assert "^ .. $" not in found


def test_what_stands_around_a_sentence():
    alone = context([read_sentence("Sure!", first=True)])
    assert alone == [["~plain 0", "~words 0", "~alone"]]
    both = [
        read_sentence("Sure!", first=True),
        read_sentence("Wet cobbles below tall towers.", first=False),
    ]
    assert context(both)[0] == ["~plain 0", "~words 0", "~beside a caption"]
    assert context(both)[1][0] == "~plain 4"
    assert (
        "~caption behind :" in context([read_sentence("Here: wet cobbles below towers", True)])[0]
    )
