import re

import pytest

from nucleus_data.stages.caption.checks.phrases import anywhere, at_opening, at_sentences, phrases

# As one pattern that may match anywhere says it, slowly.
START = r"(?:^|[.!?\u3002\uff01\uff1f\n]\s*)"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("let me know", "let me know"),
        ("A ring. Let me know", ". Let me know"),
        ("A ring!\n\n  I hope this helps", "!\n\n  I hope this helps"),
        ("A ring, let me know", ""),
        ("...!? feel free to", "? feel free to"),
        ("红色。please let me know", "。please let me know"),
        ("\u0130\u0130: a ring. LET me Know", ". LET me Know"),  # whose small letter has two parts
        ("", ""),
    ],
)
def test_phrases_are_looked_for_where_sentences_begin(text, found):
    pattern = phrases("chatter", "closing")
    assert at_sentences(pattern, text) == found
    slow = re.search(f"(?i){START}(?:{pattern.pattern})", text)
    assert (slow[0] if slow else "") == found


def test_an_opening_may_stand_behind_marks():
    assert at_opening("chatter", "** Caption: a ring") == "** Caption: "
    assert at_opening("chatter", "“Here is a caption:” a ring") == "“Here is a caption:"
    assert at_opening("chatter", "*" * 1000 + " Caption: a ring") == "*" * 1000 + " Caption: "
    assert not at_opening("chatter", "A ring. Caption: a ring")


def test_letters_of_any_case_match_and_are_shown_as_they_are():
    inside = phrases("refusal", "inside")
    assert anywhere(inside, "A ring. It Was Not VISIBLE to me.") == "Was Not VISIBLE to me"
    assert at_opening("chatter", "HERE is a Caption: a ring") == "HERE is a Caption: "
    assert anywhere(inside, "A ring.") == ""
