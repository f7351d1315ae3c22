"""Compares the years in a text with those in upstream columns."""

import re
from collections.abc import Mapping
from typing import Any

_KEY = re.compile(r"(?i)year|date|period|epoch|created|taken|century|decade|jahr|ann[eé]e|a[nñ]o")
_YEAR = re.compile(r"(?<![\d.,/#$\u20ac\u00a3])(1\d{3}|20\d\d)(s?)(?![\d%]|[.,]\d)")
_RANGE = re.compile(
    r"(1\d{3}|20\d\d)\s*(?:-|\u2013|\u2014|to|until|and)\s*(1\d{3}|20\d\d|\d\d)(?!\d)"
)
_CENTURY = re.compile(r"(?i)\b(\d\d?)(?:st|nd|rd|th)?[\s-]+centur(?:y|ies)")
# Verbs about when a picture was made.
_MADE = (
    r"(?:painted|created|made|taken|drawn|dates|dated|dating|photographed|shot|captured|printed"
    r"|issued|produced|published|carved|written)"
)
_MADE_IN_CENTURY = re.compile(
    rf"(?i)\b{_MADE} (?:in|from|during) (?:the )?(?:(?:early|mid|late)[ -])?{_CENTURY.pattern[4:]}"
)
_MONTH = "jan|feb|mar|apr|may|june?|july?|aug|sep|oct|nov|dec"
# A four-digit number after one of these is a year.
_CUE = re.compile(
    r"(?i)(?:\b(?:in|from|since|until|till|circa|around|year|dated|before|after|during|early|late|mid"
    rf"|summer|winter|spring|autumn|fall|(?:{_MONTH})[a-z]*\.?(?: \d\d?(?:st|nd|rd|th)?,?)?)"
    r"|\bca?\.|[(,])\s*(?:the )?$"
    rf"|\b{_MADE} (?:about|approximately|roughly|probably|likely|or about) $"
)
# "This 1935 painting", but not "the 1935 car in this painting".
_THE = re.compile(r"(?i)\b(?:this|the|an?) $")
_PICTURE = re.compile(
    r"(?i)^ (?:oil |watercolou?r |colou?r |vintage |black[- ]and[- ]white )?"
    r"(?:painting|photo(?:graph)?|picture|print|drawing|sketch|etching|engraving|lithograph|woodcut|watercolou?r|poster|postcard"
    r"|stamp|portrait|map)\b"
)
# Before a year that is not meant exactly.
_HEDGE = re.compile(r"(?i)\b(?:about|around|circa|approximately|roughly|ca?\.?)\s*(?:the )?$")
_INEXACT = 10  # years that such a one may be off
# Verbs about when something began, which may well be before the picture was made.
_BEGAN = re.compile(
    r"(?i)\b(?:built|found|establish|erect|construct|born|died|dedicat|restor|open|complet|since|renovat)\w*"
    r"(?: \w+){0,3} $"
)
_UNIT = re.compile(
    r"(?i)^\s*(?:x\b|\u00d7|by\b|px|pixels?|mm|cm|km|kg|m\b|feet|ft|miles|meters?|metres?|people"
    r"|(?!this|shows|depicts)[a-z]{3,}s\b)"
)
# Characters on both sides of a year that are looked at.
_NEAR = 200


def contradicted(text: str, facts: Mapping[str, Any]) -> str | None:
    """Finds a year in the text that is in no column, if any column has years.

    Args:
        text: The text, without quotations.
        facts: Values by column.

    Returns:
        What is contradicted, for people; None if nothing is.
    """
    spans = [span for key, value in facts.items() for span in _spans(key, value)]
    if not spans:
        return None
    began = any(_BEGAN.search(f"{key} ") for key in facts)
    for match in _YEAR.finditer(text):
        year, decade = int(match[1]), bool(match[2])
        before = text[max(0, match.start() - _NEAR) : match.start()]
        after = text[match.end() : match.end() + _NEAR]
        ends = not after.strip()[:1].isalnum()
        named = _THE.search(before) and _PICTURE.search(after)
        cue = named or _CUE.search(before) or (ends and before.endswith(" of "))
        if not cue or _UNIT.match(after) or (_BEGAN.search(before) and not began):
            continue
        spare = _INEXACT if _HEDGE.search(before) else 0
        first, last = year - spare, (year + 9 if decade else year) + spare
        if not any(low <= last and first <= high for low, high in spans):
            columns = ", ".join(
                f"{low}" if low == high else f"{low}-{high}" for low, high in spans[:3]
            )
            return f"it says {match[0]}, the columns in the question say {columns}"
    for match in _MADE_IN_CENTURY.finditer(text):
        last = 100 * int(match[1])
        if not any(low <= last and last - 99 <= high for low, high in spans):
            return f"it says {match[0]!r}, the columns in the question say {spans[0][0]}"
    return None


def _spans(key: str, value: Any) -> list[tuple[int, int]]:
    """Returns the (first, last) years of each year, range, decade or century in a column."""
    if isinstance(value, list | tuple):
        return [span for item in value for span in _spans(key, item)]
    if isinstance(value, int | float):
        whole = not isinstance(value, bool) and 1000 <= value < 2100
        return [(int(value), int(value))] if whole and _KEY.search(key) else []
    text = str(value)
    spans = []
    for match in _RANGE.finditer(text):
        last = match[2] if len(match[2]) == 4 else match[1][:2] + match[2]
        spans.append((int(match[1]), int(last)))
    for match in _YEAR.finditer(text):
        first = int(match[1])
        spans.append((first, first + (9 if match[2] else 0)))
    centuries = (int(match[1]) for match in _CENTURY.finditer(text))
    spans.extend((century * 100 - 99, century * 100) for century in centuries)
    return spans
