"""What a case takes for the outcome that is known."""

import pytest

from scripts.cases.plans import CASES


def said(word, **directions):
    """A verdict's content: a word, and what it says of captions and so on."""
    return {
        "word": word,
        "findings": [
            {"direction": direction, "measure": {"about": about}}
            for about, direction in directions.items()
        ],
    }


@pytest.mark.parametrize(
    ("case", "content", "expected"),
    [
        ("stamps-swapped", said("worse", captions=-1, pictures=0), True),
        ("stamps-swapped", said("worse", captions=0, pictures=-1), False),
        ("stamps-swapped", said("mixed", captions=-1, duplicates=1), False),
        ("emoji-short", said("no difference", captions=0), False),
        ("world-alt-texts", said("better", captions=1), True),
        ("world-alt-texts", said("worse", captions=-1), False),
        ("world-curated", said("better", captions=1), False),
        ("world-curated", said("better", captions=0, pictures=1), True),
    ],
)
def test_a_case_wants_the_word_and_what_it_is_about(case, content, expected):
    assert CASES[case].expected(content) is expected
