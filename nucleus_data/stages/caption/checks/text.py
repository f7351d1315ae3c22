"""Text helpers for any script: words, word counts, quotations, the values of JSON answers."""

import json
import re
from functools import lru_cache
from typing import Any

# Scripts without spaces between words: Thai to Lao, Burmese, Khmer, kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED += "\U00020000-\U0003ffff"
_LETTER = re.compile(f"([{_UNSPACED}])")
_BETWEEN = re.compile(
    r"[\s,;:/|\u2013\u2014\u2026.!?()\[\]{}\"<>\u3001\u3002\uff0c\uff1a\uff1b\uff01\uff1f]+"
)
# The ASCII part of `_BETWEEN`, for a fast path on ASCII texts.
_SPACES = str.maketrans(dict.fromkeys(',;:/|.!?()[]{}"<>', " "))
_EDGES = "'\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb*_-#`"
# A pair of single quotes has no letter before the first or after the second, unlike apostrophes.
_QUOTED = re.compile(
    r'"[^"\n]{0,400}"|\u201c[^\u201d\n]{0,400}\u201d|\u201e[^\u201c\u201d\n]{0,400}[\u201c\u201d]'
    r"|\u00ab[^\u00bb\n]{0,400}\u00bb|\u300c[^\u300d\n]{0,400}\u300d|\u300e[^\u300f\n]{0,400}\u300f"
    r"|(?<![\w'])'[^'\n]{1,200}(?:'\w[^'\n]{0,200}){0,3}'(?!\w)"
    r"|(?<!\w)\u2018[^\u2019\n]{1,200}(?:\u2019\w[^\u2019\n]{0,200}){0,3}\u2019(?!\w)"
)
_MARKS = frozenset("\"'\u201c\u201e\u00ab\u300c\u300e\u2018")
_SPACED = re.compile(r"[^\W_]\S*")  # a word with everything up to the next space
# The same for ASCII: without marks, what is between spaces is a word.
_MARKS_OUT = {code: None for code in range(128) if not (chr(code).isalnum() or chr(code).isspace())}
# A character of a script without spaces counts as this fraction of a word.
WORDS_A_LETTER = 0.6


@lru_cache(maxsize=256)
def words_of(text: str) -> tuple[str, ...]:
    """Splits a text into lower-case words; in scripts without spaces, into characters."""
    if text.isascii():
        parts = text.lower().translate(_SPACES).split()
    else:
        parts = _BETWEEN.split(_LETTER.sub(r" \1 ", text).casefold())
    return tuple([bare for part in parts if (bare := part.strip(_EDGES))])


@lru_cache(maxsize=256)
def count_words(text: str) -> float:
    """Counts a text's words; in scripts without spaces, each character counts as 0.6 words."""
    if text.isascii():
        return len(text.translate(_MARKS_OUT).split())
    text, letters = _LETTER.subn(" ", text)
    return len(_SPACED.findall(text)) + WORDS_A_LETTER * letters


def unquoted(text: str) -> str:
    """Empties all quotations of a text; the marks stay, so that sentences keep their shape."""
    if not _MARKS.intersection(text):
        return text
    return _QUOTED.sub('""', text)


def values_of(text: str) -> str:
    """Returns the strings in a JSON text, one per line.

    A text that is not JSON, or is nested too deep to be read, is returned as it is.
    """
    try:
        return "\n".join(_strings(json.loads(text)))
    except (ValueError, RecursionError):
        return text


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []


def shortened(text: str, most: int = 80) -> str:
    """Truncates a text, for messages."""
    return text if len(text) <= most else f"{text[:most]}\u2026"


def ngrams(words: tuple[str, ...], length: int) -> list[tuple[str, ...]]:
    """Returns all n-grams of `length` words, in order."""
    return list(zip(*(words[at:] for at in range(length)), strict=False))
