"""Compares the counts of things in a text ("two cats") with upstream columns."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nucleus_data.stages.caption.checks.phrases import words_in

NUMBERS = {name: number for number, name in enumerate(words_in("numbers"))} | {"no": 0}
MOST = 99
# A number, up to two words, and a noun.
_COUNTED = re.compile(
    rf"(?i)(?<![\w.,:/$-])({'|'.join(NUMBERS)}|\d\d?)\s+((?:[a-z-]+\s+){{0,2}}?)([a-z]+)\b(?![\w-])"
)
_SMALL = frozenset(words_in("small"))
_MEASURES = frozenset(words_in("measures"))
_KEY_WORDS = frozenset(["source", "count", "number", "num", "n", "of", "total", "counts", "nr"])


def contradicted(text: str, facts: Mapping[str, Any]) -> str | None:
    """Finds a thing whose count in the text contradicts the columns.

    Args:
        text: The text, without quotations.
        facts: Values by column: a text with counts, or a number of the things that the column's
            name says (`source.cats`, `source.count_of_cats`).

    Returns:
        What is contradicted, for people; None if nothing is.
    """
    known: dict[str, set[int]] = {}
    for key, value in facts.items():
        for thing, number, _ in _facts(key, value):
            known.setdefault(thing, set()).add(number)
    if not known:
        return None
    mentioned: dict[str, list[tuple[int, bool]]] = {}
    for thing, number, bare in _counted(text):
        if thing in known:
            mentioned.setdefault(thing, []).append((number, bare))
    for thing, mentions in mentioned.items():
        true, numbers = known[thing], [number for number, _ in mentions]
        # "Two black cats and a third one": parts, or parts that add up, are no contradiction.
        if true & {*numbers, sum(numbers)}:
            continue
        wrong = [n for n, bare in mentions if n > max(true) or (bare and len(mentions) == 1)]
        if wrong:
            columns = " or ".join(map(str, sorted(true)))
            return f"it counts {wrong[0]} of {thing!r}, the columns in the question {columns}"
    return None


def _facts(key: str, value: Any) -> Iterator[tuple[str, int, bool]]:
    """Yields the counts that a column states, like `_counted`."""
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):  # a table with missing counts may store them as floats
        parts = [p for p in re.split(r"[._\s-]+", key.casefold()) if p not in _KEY_WORDS]
        if len(parts) == 1 and value in range(MOST + 1):
            yield _one(parts[0]), int(value), True
    elif isinstance(value, str):
        yield from _counted(value)


def _counted(text: str) -> Iterator[tuple[str, int, bool]]:
    """Yields (singular noun, count, whether the noun directly follows the number)."""
    for match in _COUNTED.finditer(text):
        number = NUMBERS.get(match[1].casefold())
        number = int(match[1]) if number is None else number
        between = match[2].casefold().split()
        # The noun is the first plural after the number, or the last word after "one".
        words = [*between, match[3].casefold()]
        if number != 1:
            rest = text[match.end() :].split()[: 3 - len(words)]
            words += [re.sub(r"\W.*$", "", word).casefold() for word in rest]
        thing = _thing(words, number)
        if thing is not None:
            at, name = thing
            yield name, number, at == 0


def _thing(words: list[str], number: int) -> tuple[int, str] | None:
    """Returns (index, singular) of the counted noun among the words after a number, or None."""
    for at, word in enumerate(words):
        if not word or word in _SMALL:
            return None
        singular = _one(word)
        plural = word != singular
        if (plural and number != 1) or (number == 1 and at == len(words) - 1):
            return None if singular in _MEASURES else (at, singular)
    return None


def _one(word: str) -> str:
    """Returns the singular of an English word, by its ending."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for end, ending in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("sses", "ss")):
        if word.endswith(end) and len(word) > len(end) + 1:
            return word[: -len(end)] + ending
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse",
    "geese": "goose", "feet": "foot", "teeth": "tooth", "leaves": "leaf", "wolves": "wolf",
    "knives": "knife", "oxen": "ox", "horses": "horse", "houses": "house", "faces": "face",
    "roses": "rose", "vases": "vase", "buses": "bus", "noses": "nose",
}  # fmt: skip
