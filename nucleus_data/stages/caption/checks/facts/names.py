"""Compares makers, countries and names in a text with upstream columns."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from nucleus_data.stages.caption.checks.phrases import lines_of

COUNTRIES = lines_of("countries")[""]
_MAKER = re.compile(
    r"(?i)artist|author|creator|photograph|painter|designer|sculptor|illustrator|\bby\b"
)
_PLACE = re.compile(r"(?i)country|place|location|city|region|origin|where|nation")
_PARTICLE = r"(?:von|van|der|den|de|da|di|del|della|du|la|le|el|bin|ibn|al)"
_CAPITAL = r"[A-Z\u00c0-\u00de][\w'\u2019-]*\.?"
_NAME = rf"{_CAPITAL}(?:\s+(?:{_PARTICLE}\s+)*{_CAPITAL}){{0,3}}"
_MADE_BY = re.compile(
    r"(?i:\b(?:paint|photo|draw|creat|design|made|work|portrait|etch|sculpt|print|illustrat|engrav|artwork|shot"
    rf"|taken|written)\w*\s+(?:[\w'-]+\s+){{0,2}}?by\s+(?:the \w+ )?"
    r"|\b(?:attributed|ascribed|credited) to (?:the \w+ )?|\bthe work of (?:the \w+ )?"
    r"|\b(?:artist|painter|photographer|author|sculptor|designer|illustrator) (?:is|was) "
    rf")({_NAME})"
)
_MADE_THIS = re.compile(
    rf"\b(?!(?:The|A|An|This|That)\s)({_CAPITAL}\s+(?:{_PARTICLE}\s+)*{_CAPITAL})\s+"
    r"(?:took|photographed|painted|made|shot|drew|created|designed)\s+(?:this|it)\b"
)
_WORD = re.compile(r"[^\W\d_][\w'\u2019-]*")
_COUNTRY = re.compile(
    rf"\b(?:in|from|of|near|across)\s+(?:the\s+)?(?:{_NAME},\s+)?"
    rf"({'|'.join(sorted(COUNTRIES, reverse=True))})\b"
)
SHORTEST = 5  # minimum letters of a name that can be recognised as misspelt
FEWEST_CONSONANTS = 4
_VOWEL = re.compile(r"[aeiouy]")
# Endings of adjectives and plurals formed from names, which are not misspellings.
_ENDINGS = (
    "s",
    "es",
    "'s",
    "n",
    "an",
    "ian",
    "ish",
    "ese",
    "er",
    "e",
    "a",
    "i",
    "en",
    "y",
    "ic",
    "ne",
    "ine",
)


def contradicted(text: str, facts: Mapping[str, Any]) -> str | None:
    """Finds a maker, country or name that contradicts the columns.

    Args:
        text: The text, without quotations.
        facts: Values by column.

    Returns:
        What is contradicted, for people; None if nothing is.
    """
    columns = {key: _text(value) for key, value in facts.items()}
    known = {_plain(word) for value in columns.values() for word in _WORD.findall(value)}
    makers = [value for key, value in columns.items() if value and _MAKER.search(key)]
    for made in (_MADE_BY, _MADE_THIS) if makers else ():
        for match in made.finditer(text):
            if _of_another(match[1], makers, known):
                return f"it says by {match[1]}, the columns in the question {makers[0]!r}"
    places = " ".join(value for key, value in columns.items() if _PLACE.search(key))
    true = {country for country in COUNTRIES if re.search(rf"\b{country}\b", places)}
    mentioned = set(_COUNTRY.findall(text)) if true else set()
    if mentioned and not mentioned & true:
        return f"it says {min(mentioned)}, the columns in the question {min(true)}"
    return _misspelt(text, columns, known)


def _of_another(name: str, makers: Sequence[str], known: set[str]) -> bool:
    """Whether a maker's name is another one than those of the columns.

    It is if it shares no word with the columns, or a first name alone: "Sabine Weill", where the
    column says Sabine Weiss.
    """
    words = [_plain(word) for word in _WORD.findall(name)]
    if not known & {*words}:
        return True
    others = [[_plain(word) for word in _WORD.findall(maker)] for maker in makers]
    return (
        len(words) > 1
        and words[-1] not in known
        and any(len(other) > 1 and other[0] == words[0] for other in others)
    )


def _misspelt(text: str, columns: Mapping[str, str], known: set[str]) -> str | None:
    """Finds a name from the columns that the text has with a letter or two wrong."""
    capitals = {
        _plain(word)
        for value in columns.values()
        for word in _WORD.findall(value)
        if len(word) >= SHORTEST and word[0].isupper() and not word.isupper()
    }
    words = list(_WORD.finditer(text))
    if not capitals or sum(w[0][0].isupper() for w in words) > 0.6 * len(words):
        return None
    spoken = {_plain(word[0]) for word in words}
    for word in words:
        first = not text[: word.start()].rstrip() or text[: word.start()].rstrip()[-1] in ".!?:\n"
        name = _plain(word[0])
        if first or not word[0][0].isupper() or len(name) < SHORTEST or name in known:
            continue
        for true in capitals - spoken:
            if _nearly(name, true):
                return f"it says {word[0]}, the columns in the question {true!r}"
    return None


def _nearly(name: str, true: str) -> bool:
    """Whether two names differ by one letter (two if they are long), and not by an ending.

    Also if they have the same consonants, enough to tell, and all vowels but one: "Harlaam" for
    Haarlem; and longer ones, if the first letter alone differs: "Mazare" for Nazare.
    """
    if name[0] != true[0]:
        return len(true) > SHORTEST and name[1:] == true[1:]
    if abs(len(name) - len(true)) > 2:
        return False
    stem = next(i for i in range(len(name) + 1) if name[: i + 1] != true[: i + 1] or i == len(name))
    if {name[stem:], true[stem:]} <= {"", *_ENDINGS}:
        return False
    if len(_consonants(name)) >= FEWEST_CONSONANTS and _consonants(name) == _consonants(true):
        one, other = Counter(_VOWEL.findall(name)), Counter(_VOWEL.findall(true))
        return (one - other).total() <= 1 and (other - one).total() <= 1
    same = sum(
        block.size for block in SequenceMatcher(None, name, true, False).get_matching_blocks()
    )
    return max(len(name), len(true)) - same <= (1 if len(true) < 8 else 2)


def _consonants(name: str) -> str:
    """Returns a name without vowels, each run of one consonant once."""
    return re.sub(r"(.)\1+", r"\1", _VOWEL.sub("", name))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return value if isinstance(value, str) else ""


def _plain(word: str) -> str:
    """Returns a word in lower case, without accents and without a genitive ending."""
    bare = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    return re.sub(r"['\u2019]s?$", "", bare.casefold())
