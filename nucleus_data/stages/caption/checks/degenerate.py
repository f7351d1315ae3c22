"""The check `degenerate`: output that is not text.

With non-finite logits, a model repeats the first token of its vocabulary (`!!!!!!` in most
byte-level vocabularies); a text cut inside a multi-byte character contains U+FFFD; broken weights
mix scripts.
"""

import re
import string
import unicodedata
from typing import ClassVar

from pydantic import Field

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.empty import tells
from nucleus_data.stages.caption.checks.text import shortened

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_NEITHER = re.compile(r"[\W_]")  # neither a letter nor a digit
_ALPHANUMERIC = (string.ascii_letters + string.digits).encode()
MARKS_FROM = 3  # characters that are all marks; shorter texts are the check `empty`'s
SHORTEST = 20  # minimum number of characters for the tests by `share`
# Dot leaders, ruled lines and long numbers are legitimate, so their runs may be longer.
LEADERS = ".-_=*~\u2026\u2013\u2014"
PATIENCE = 2  # factor on `run` for `LEADERS` and digits
# Scripts that are commonly mixed within one text count as one.
FAMILIES = {
    "HIRAGANA": "CJK",
    "KATAKANA": "CJK",
    "HANGUL": "CJK",
    "FULLWIDTH": "CJK",
    "HALFWIDTH": "CJK",
    "KATAKANA-HIRAGANA": "CJK",
    "BOPOMOFO": "CJK",
}


class Degenerate(Check):
    """Not text: one character over and over, broken characters, scripts mixed at random."""

    name: ClassVar[str] = "degenerate"
    rank: ClassVar[int] = 20

    run: int = Field(
        default=8,
        ge=3,
        description="A text fails if it has a run of at least this many equal characters; twice as"
        " many for digits, dots and lines.",
    )
    share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description=f"A text of {SHORTEST} characters or more fails if at least this share of it is"
        " one character, or punctuation.",
    )
    scripts: int = Field(
        default=4,
        ge=2,
        description="A text fails if it mixes at least this many writing systems outside of"
        " quotation marks.",
    )

    def find(self, said: Said) -> str | None:
        """Looks for runs, shares, broken characters, mixed scripts."""
        text = said.prose
        if broken := _broken(text):
            return f"it has {broken} in it: {shortened(text)!r}"
        seen = "".join(text.split())
        if any(character * self.run in seen for character in set(seen)):
            for match in re.finditer(rf"(\S)\1{{{self.run - 1},}}", text):
                character, length = match[1], len(match[0])
                patient = character in LEADERS or character.isdigit()
                if length >= self.run * (PATIENCE if patient else 1):
                    return f"it has {character!r} {length} times in a row"
        if MARKS_FROM <= len(seen) < SHORTEST and not any(map(tells, seen)):
            return f"it has no letter, digit or symbol: {shortened(text)!r}"
        if len(seen) >= SHORTEST:
            folded = seen.casefold()
            characters = set(folded)
            count = max(map(folded.count, characters))
            if count >= self.share * len(seen):
                character = max(sorted(characters), key=folded.count)
                return f"{count} of {len(seen)} characters are {character!r}"
            if _count_marks(seen) >= self.share * len(seen):  # a fast test: few texts pass it
                marks = sum(unicodedata.category(c)[0] == "P" for c in seen)
                if marks >= self.share * len(seen):
                    return f"{marks} of {len(seen)} characters are punctuation: {shortened(text)!r}"
        if not text.isascii() and len(mixed := _scripts(said.own)) >= self.scripts:
            return f"it mixes {len(mixed)} scripts ({', '.join(mixed)}): {shortened(text)!r}"
        return None


def _count_marks(text: str) -> int:
    """Counts the characters of a text that are neither letters nor digits."""
    if text.isascii():
        return len(text.encode().translate(None, _ALPHANUMERIC))
    return len(_NEITHER.findall(text))


def _broken(text: str) -> str | None:
    """Describes the first control or undecodable character of a text; None if there is none."""
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        if character == REPLACEMENT:
            return "U+FFFD (bytes that are no UTF-8)"
        if unicodedata.category(character) in ("Cc", "Cn", "Cs") and character not in "\t\n\r":
            return f"U+{ord(character):04X} (a control character or none at all)"
    return None


def _scripts(text: str) -> list[str]:
    """Returns the scripts of a text's letters, by the first word of their Unicode names."""
    counts: dict[str, int] = {}
    for letter in dict.fromkeys(c for c in text if c.isalpha()):
        script = unicodedata.name(letter, "?").split(" ", 1)[0]
        # Any text may contain a single letter of another script, such as a micro or ohm sign.
        family = FAMILIES.get(script, script)
        counts[family] = counts.get(family, 0) + 1
    return sorted(script for script, letters in counts.items() if letters > 1)
