"""The check `empty`: the answer, or the object of one of its sentences, has no content."""

import re
import unicodedata
from typing import ClassVar

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.prompts import visible

# Fillers in place of a caption, with or without brackets and a full stop.
NOTHING = frozenset(
    """n/a, n.a, none, nan, nil, tbd, undefined, empty, no caption, no description, no text,
    no content, no answer, not available, not applicable, no caption available,
    no description available, description not available""".replace("\n    ", " ").split(", ")
)
# What a template holds in brackets where a caption belongs.
_PLACEHOLDER = re.compile(
    r"[\[<({]\s*(?:insert |your |the |add )?"
    r"(?:blank|unknown|image|picture|caption|description|text)(?: here| text)?\s*[\])}>]\.?",
    re.IGNORECASE,
)
LONGEST = 32  # characters of such a filler, with what is around it
# A word that announces something, or the colon or exclamation mark of an opening, and then a full
# stop or comma on its own. (Some captioners write a space before every mark, but what they announce
# still comes before it.)
_HOLE = re.compile(
    r"(?:^|(?:[:!?]|\b(?:an?|the|of|with|and|including|there|out|(?:i|a)s|are|was|were"
    r"|show(?:s|ing)?|depict(?:s|ing)?|featur(?:es?|ing)|displays?|present(?:s|ing)|illustrates?"
    r"|portray(?:s|ing)?|contain(?:s|ing)?|includes?|captur(?:es?|ing)|showcas(?:es?|ing)|reveals?"
    r"|exhibits?|highlights?|sees?|notices?|observes?))\s+)"
    r"[.,](?=\s|$)",
    re.IGNORECASE,
)


class Empty(Check):
    """Nothing visible, a filler in place of a caption (`N/A`), or a hole ("It shows .")."""

    name: ClassVar[str] = "empty"
    rank: ClassVar[int] = 10

    def find(self, said: Said) -> str | None:
        """Finds invisible text, up to three punctuation marks, fillers, and holes in sentences."""
        text = said.text.strip()
        if not visible(text):
            return f"the model ended after {said.tokens} tokens with {said.text[:40]!r}"
        short = len(text) < 4 and not any(map(tells, text))
        if (
            short
            or text == "null"
            or _PLACEHOLDER.fullmatch(text)
            or (len(text) < LONGEST and text.strip("[]()<>.\"' ").casefold() in NOTHING)
        ):
            return f"the model said {text!r}"
        own = said.own.strip()
        if (own[:1] in ".," or " ." in own or " ," in own) and (hole := _HOLE.search(own)):
            return f"nothing follows {own[max(0, hole.start() - 20) : hole.end()]!r}"
        return None


def tells(char: str) -> bool:
    """Whether a character is no space, no punctuation and no ASCII symbol; an emoji may tell."""
    return char.isalnum() if char.isascii() else unicodedata.category(char)[0] not in "PZ"
