import random
import re

import pytest

from nucleus_data.stages.caption.checks import text as reading
from nucleus_data.stages.caption.checks.text import count_words, values_of, words_of

MARKS = "ab1 \t\n\x1f,;:/|.!?()[]{}\"<>'*_-#`"


def test_ascii_is_read_as_any_text_is():
    """Texts of ASCII go another, faster way to the same words."""
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choices(MARKS, k=30))
        slow = (part.strip(reading._EDGES) for part in reading._BETWEEN.split(text.casefold()))
        assert words_of(text) == tuple(part for part in slow if part)


def test_words_of_scripts_without_spaces_are_their_characters():
    assert words_of("红色，a Ring") == ("红", "色", "a", "ring")
    assert count_words("红色的圆 ring") == 4 * reading.WORDS_A_LETTER + 1
    assert not re.search(reading._BETWEEN, "aring")


@pytest.mark.parametrize("depth", [900, 100_000])
def test_json_nested_too_deep_is_read_as_it_is(depth):
    text = "[" * depth + "]" * depth
    assert values_of(text) == text
    assert values_of('{"a": ["ring", {"b": "cup"}]}') == "ring\ncup"
