"""Reads a caption back into facts.

The reader knows the grammar of `words` and forgives what a captioner or a person would add to it:
case, missing articles, extra words, a cut-off end, places before or after their object. What it
makes of impossible words:

- A thing told with a colour and an unknown noun ("blue hexagon") is an object whose kind is that
  noun, which is no true kind.
- A colour without a noun ("a large blue", cut off) is an object whose kind is not told.
- A thing with neither a known colour nor a known kind ("a large dog") is no object.
- A contradiction ("the background is gray. ... the background is teal") is kept as "gray or teal",
  which is no true value.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import NamedTuple

from nucleus_data.world.scenes import BACKGROUNDS, COLORS, COLUMNS, KINDS, ROWS, SIZES, TEXTURES
from nucleus_data.world.words import ABOVE, LEFT_OF


@dataclass(frozen=True)
class ReadObject:
    """A shape as told; None where the caption does not tell.

    Attributes:
        kind: One of `KINDS`, or the noun that stands in its place.
        color: A key of `COLORS` or of `BACKGROUNDS`; "red or blue" if it is told twice.
        size: A key of `SIZES`.
        texture: One of `TEXTURES`.
        place: In the words of `Shape.place`.
    """

    kind: str | None = None
    color: str | None = None
    size: str | None = None
    texture: str | None = None
    place: str | None = None


@dataclass(frozen=True)
class ReadScene:
    """A scene as told; None where the caption does not tell, "A or B" where it tells both.

    Attributes:
        objects: In the order of the caption.
        count: The number of shapes, as digits.
        background: A key of `BACKGROUNDS`, or of `COLORS` if the caption says so.
        ground: One of `GROUNDS`.
        light: One of `LIGHTS`.
        style: One of `STYLES`.
        word: In capitals.
        word_place: One of `WORD_PLACES`.
        relations: (one object, `LEFT_OF` or `ABOVE`, the other), objects by colour and kind.
    """

    objects: tuple[ReadObject, ...] = ()
    count: str | None = None
    background: str | None = None
    ground: str | None = None
    light: str | None = None
    style: str | None = None
    word: str | None = None
    word_place: str | None = None
    relations: tuple[tuple[ReadObject, str, ReadObject], ...] = ()


def _any_of(values: Iterable[str]) -> str:
    return "|".join(values)


NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SHADES = (*COLORS, *BACKGROUNDS)
ATTRIBUTES = ("kind", "color", "size", "texture", "place")
SPELLINGS = {"grey": "gray", "centre": "center", "upper": "top", "lower": "bottom"}
NOUNS = {
    **{kind: kind for kind in KINDS},
    **{f"{kind}{'es' if kind.endswith('s') else 's'}": kind for kind in KINDS},
}
ANY_SHAPE = r"(?:shape|object|figure|thing)s?"
# What ends a noun phrase. An article ends one and begins the next.
ARTICLES = ("a", "an", "the")
BOUNDARIES = {
    *("and", "or", "with", "which", "it", "its", "this", "that", "there"),
    *("is", "are", "was", "has", "have", "gets", "lies", "sits", "stands", "shows", "showing"),
    *("in", "on", "at", "of", "to", "next", "near", "by", "from"),
    *("background", "picture", "drawing", "image", "photo", "word"),
}

_SENTENCE = re.compile(r"[.!?;\n]+")
_QUOTED = re.compile(r'["“”„]([^\W\d_]+)["“”]|\bword\s+([A-Z]{2,})\b')
_WORD_PLACE = re.compile(r"\b(?:at|on|in) the (top|bottom)\b(?!\s+(?:left|center|right))")
_LIGHT = re.compile(
    r"\b(lighter|graded|gradient)\b(?:(?:\s+(?:towards?|to|on|at|in|the))*\s+"
    r"(left|right|top|bottom)\b)?"
)
_GROUND = re.compile(r"\b(woven|cluttered)\b|\b(plain)\s+(?=(?:\w+\s+)?background\b)")
_BACKGROUND = re.compile(
    rf"\b({_any_of(SHADES)})\s+background\b"
    rf"|\bbackground\s*:?\s*(?:is\s+)?(?:\w+\s+)?({_any_of(SHADES)})\b"
)
_STYLE = re.compile(r"\b(flat|outlined|pencil|night)\b|\b(?:this|a|the)\s+(picture)\b")
_COUNT = re.compile(rf"\b({_any_of(NUMBERS)}|\d)\s+{ANY_SHAPE}\b")
_RELATION = re.compile(
    r"\b(?:to\s+the\s+)?(left|right)\s+of\b|\b(above|over|below|under|beneath)\b"
)
_PLACE = re.compile(rf"\b({_any_of(ROWS)}|center)\s+({_any_of(COLUMNS)}|middle)\b|\b(center)\b")
_TOKEN = re.compile(r"@\w+|\w+|[,:()|]")


def read_caption(text: str) -> ReadScene:
    """Reads the facts that a caption tells.

    Args:
        text: Any text. Case, missing articles, extra words and a cut-off end do no harm; unknown
            adjectives are passed over.

    Returns:
        What it tells; nothing for text that tells nothing. Never raises.
    """
    told: dict[str, list[str]] = {f.name: [] for f in fields(ReadScene)}
    objects: list[ReadObject] = []
    related: list[tuple[ReadObject, str, ReadObject]] = []
    for sentence in _SENTENCE.split(text):
        rest = _read_plain_facts(sentence, told)
        # [text, left or right, above or below, text, ...]
        parts = _RELATION.split(rest)
        mentions = _mentions(parts[::3])
        for mention in (m for part in mentions for m in part):
            _note(objects, mention, in_relation=len(parts) > 1)
        for i, (before, after) in enumerate(pairwise(mentions)):
            if before and after:
                relation = parts[3 * i + 1] or parts[3 * i + 2]
                pair = [ReadObject(m.told.kind, m.told.color) for m in (before[-1], after[0])]
                if relation in ("right", "below", "under", "beneath"):
                    pair.reverse()
                word = LEFT_OF if relation in ("left", "right") else ABOVE
                related.append((pair[0], word, pair[1]))
    return ReadScene(
        objects=tuple(objects),
        relations=tuple(related),
        **{name: either(values) for name, values in told.items() if values},
    )


def either(values: Iterable[str | None]) -> str | None:
    """The value told; None if there is none; "A or B", which is never true, if there are two."""
    return " or ".join(dict.fromkeys(v for v in values if v)) or None


def _read_plain_facts(sentence: str, told: dict[str, list[str]]) -> str:
    """Notes what one sentence tells of the scene as a whole; returns what is left of it."""
    # What has been read is cut out at once: the background's colour, the word's place or a count
    # would be taken for an object's otherwise. `|` ends the noun phrase that stood before it.
    words = [quoted or bare for quoted, bare in _QUOTED.findall(sentence)]
    told["word"] += [word.upper() for word in words]
    rest = re.sub(r"[_/@\-\s]+", " ", _QUOTED.sub(" | ", sentence).lower())
    for spelling, usual in SPELLINGS.items():
        rest = re.sub(rf"\b{spelling}\b", usual, rest)
    if words or re.search(r"\bword\b", rest):
        told["word_place"] += _WORD_PLACE.findall(rest)
        rest = _WORD_PLACE.sub(" | ", rest)
    for found in _LIGHT.finditer(rest):
        told["ground"].append("graded")
        told["light"] += [found[2]] if found[2] else []
    rest = _LIGHT.sub(" | ", rest)
    told["ground"] += [a or b for a, b in _GROUND.findall(rest)]
    rest = _GROUND.sub(" ", rest)
    told["background"] += [a or b for a, b in _BACKGROUND.findall(rest)]
    rest = _BACKGROUND.sub(" | ", rest)
    told["style"] += [style or "flat" for style, _ in _STYLE.findall(rest)]
    rest = _STYLE.sub(" ", rest)
    numbers = _COUNT.findall(rest)
    told["count"] += [n if n.isdigit() else str(NUMBERS.index(n)) for n in numbers]
    return _COUNT.sub(" | ", rest)


class _Mention(NamedTuple):
    """An object in a sentence, and the article before it."""

    told: ReadObject
    article: str


def _mentions(parts: list[str]) -> list[list[_Mention]]:
    """The objects of each part of a sentence, each with the place that is told of it."""
    found: list[list[_Mention]] = []
    waiting: str | None = None
    for part in parts:
        here: list[_Mention] = []
        phrase: list[str] = []
        article = ""
        for token in [*_TOKEN.findall(_PLACE.sub(_as_token, part)), "|"]:
            if token in BOUNDARIES or token in ARTICLES or not token.isalnum():
                told = _objects(phrase)
                if told and waiting:  # "in the top left, a red ring": the place came first
                    told[0], waiting = replace(told[0], place=waiting), None
                here += [_Mention(one, article) for one in told]
                phrase, article = [], token if token in ARTICLES else ""
            else:
                phrase.append(token)
            if token.startswith("@"):
                place = token[1:].replace("_", " ")
                if here and here[-1].told.place is None:
                    here[-1] = here[-1]._replace(told=replace(here[-1].told, place=place))
                else:
                    waiting = place
        found.append(here)
    return found


def _as_token(found: re.Match[str]) -> str:
    """A place as one token: ` @top_left `."""
    row, column = ("middle" if v == "center" else v for v in (found[1] or "", found[2] or ""))
    column = "center" if column == "middle" else column
    at_center = not row or (row, column) == ("middle", "center")
    return " @center " if at_center else f" @{row}_{column} "


def _objects(phrase: list[str]) -> list[ReadObject]:
    """The objects of a noun phrase: each ends with its noun; a colour may also follow it."""
    chunks: list[list[str]] = [[]]
    for token in phrase:
        chunks[-1].append(token)
        if token in NOUNS:
            chunks.append([])
    told, left = [_object(chunk) for chunk in chunks[:-1]], _object(chunks[-1])
    if len(told) == 1 and not (told[0].color and left.color):
        told = [_merged(told[0], replace(left, kind=None))]
    elif left.color:  # a caption that was cut off before the noun
        told.append(left)
    told = [one for one in told if one.kind in KINDS or one.color]
    if len(told) == 1 and phrase[0] in NUMBERS:  # "two red rings" are two objects
        told *= NUMBERS.index(phrase[0])
    return told


def _object(tokens: list[str]) -> ReadObject:
    """One object from its adjectives and noun, known or not."""
    kind = next((NOUNS[t] for t in tokens if t in NOUNS), None)
    shades = [i for i, t in enumerate(tokens) if t in SHADES]
    if kind is None and shades:
        known = {*SIZES, *TEXTURES}
        after = [t for t in tokens[shades[-1] + 1 :] if t not in known and not t.isdigit()]
        kind = next((t for t in after if not re.fullmatch(ANY_SHAPE, t)), None)
    return ReadObject(
        kind=kind,
        color=either(tokens[i] for i in shades),
        size=either(t for t in tokens if t in SIZES),
        texture=either(t for t in tokens if t in TEXTURES),
    )


def _merged(one: ReadObject, more: ReadObject) -> ReadObject:
    return ReadObject(*(either((getattr(one, a), getattr(more, a))) for a in ATTRIBUTES))


def refers(to: ReadObject, one: ReadObject) -> bool:
    """Whether colour and kind, as far as they are told, are the other's."""
    same_kind = one.kind in (None, to.kind)
    return same_kind and one.color in (None, to.color)


def _note(objects: list[ReadObject], mention: _Mention, in_relation: bool) -> None:
    """Adds an object, unless it is one told before ("the red ring is above ...")."""
    if mention.article == "the" or (in_relation and not mention.article):
        for i, known in enumerate(objects):
            if refers(known, mention.told):
                objects[i] = _merged(known, mention.told)
                return
    if not (in_relation and mention.article == "the"):
        objects.append(mention.told)
