"""The check `cut`: the text is cut off.

The finish reason says whether an answer reached its token limit. An end token that came too early
shows only in the text: by its last word, or by a missing full stop although sentences were asked
for or written before. A caption that is not a sentence ("a red circle") needs no full stop, so a
text that begins with a lower-case letter is never reported for that. An answer that ended at one of
the variant's stop texts is complete.
"""

import re
from typing import ClassVar

from pydantic import Field

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.text import count_words

FEWEST_WORDS = 3
# Punctuation that ends a sentence, in any script; and closing marks that may follow it.
ENDS = tuple(
    ".!?\u2026\u3002\uff01\uff1f\uff0e\u0964\u0965\u06d4\u061f\u1362\u104b\u17d4\u0589\u037e"
)
CLOSING = "\"'\u2019\u201d\u00bb\u203a\u300d\u300f\uff09)]}*_`\u201c"
_OPEN = re.compile(r"[,;\-\u2013\u2014&+=(\[{\u3001\uff0c\u201e\u00ab\u300c]$|[:\uff1a]$")
# No complete text ends with these (some do end with a lone "of", "with", "in" or "a").
_DANGLING = re.compile(
    r"(?:, (?:a|or)\b|\b(?:the|an|and|whose|und|sowie|et les|avec les|dans le)"
    r"|\b(?:y el|y la|con el|con la)"
    r"|\b(?:[Aa]n?|[Tt]he) (?:small|large|big|little|tiny|huge|tall|single)"
    r"(?: (?:striped|dotted|checked|red|orange|yellow|green|blue|purple|pink|brown|black|white"
    r"|gr[ae]y))*"
    r"|\b(?:a|the|one|and|or|of|with|in|on|at|by|for|to|from|is|are|has|behind|under|over|near)"
    r" (?:a|an|the|its|their))$"
)
# Nothing was shown yet.
_ANNOUNCED = re.compile(
    r"(?i)\b(?:image|picture|photo|photograph|drawing|painting|illustration|scene|artwork)"
    r" (?:shows|depicts|features|displays|contains|captures|includes|presents|portrays)$"
)
# A possible end of one sentence and beginning of the next; `_whole` looks closer.
_BETWEEN = re.compile(
    r"(\w{3})[.!?][\"')\u201d\u2019\u00bb]*\s+[\"'(\u201c\u00ab]*(\w)|[\u3002\uff01\uff1f]."
)
# A remark in brackets behind the last sentence needs no full stop of its own.
_REMARK = re.compile(
    r"([.!?\u3002\uff01\uff1f][\"'\u201d\u2019\u00bb]*)\s*[(\[\uff08][^()\[\]]*[)\]\uff09][*_]*$"
)
# A URL may end with anything; in Armenian, a colon ends sentences.
_ENDED = re.compile(r"(?:https?://|www\.)\S+$|[\u0530-\u058f]:$")
_ASKS = re.compile(r"(?i)\b(sentences?|paragraphs?|prose)\b|\u53e5|\u6bb5\u843d")


class Cut(Check):
    """A text that is cut off: at the token limit, or in the middle of a sentence."""

    name: ClassVar[str] = "cut"
    rank: ClassVar[int] = 50

    sentences: bool = Field(
        default=True,
        description="Whether a text must end with a full stop if the question asks for sentences or"
        " a paragraph, or if it has complete sentences before. Set false for models that write"
        " no full stops.",
    )

    def find(self, said: Said) -> str | None:
        """Checks the finish reason, then how the text ends."""
        if said.finish_reason == "length":
            return f"it was cut at {said.tokens or said.max_tokens} tokens: ...{said.text[-40:]!r}"
        text = said.text.rstrip()
        if said.at_stop or said.schema or count_words(text) < FEWEST_WORDS:
            return None
        bare = _REMARK.sub(r"\1", text).rstrip(CLOSING)
        if bare.endswith(ENDS) or _ENDED.search(text):
            return None
        if _OPEN.search(text) or _DANGLING.search(text) or _ANNOUNCED.search(text):
            return f"it ends with {text[-40:]!r}"
        if opened := _left_open(text):
            return f"it ends inside {opened}: {text[-40:]!r}"
        if self.sentences and text[0].upper() == text[0] and not _lists(text):
            if _ASKS.search(said.template) and not text[0].isdigit():
                return f"sentences were asked for, and it ends with {text[-40:]!r}"
            if _whole(text):
                return f"its last sentence has no end: {text[-40:]!r}"
        return None


def _whole(text: str) -> bool:
    """Whether a text has a complete sentence before its last one.

    Its end is three lower-case letters, a full stop and a capital; so neither "St. Anne" nor
    "approx. 5 cm" has one.
    """
    return any(
        not match[1]
        or (
            match[1].isalpha()
            and not any(c.isupper() for c in match[1])
            and match[2].isalpha()
            and not match[2].islower()
        )
        for match in _BETWEEN.finditer(text)
    )


def _left_open(text: str) -> str | None:
    """Returns the bracket or quotation mark that a text leaves open; None if there is none."""
    for left, right in ("()", "\u201c\u201d", "\u300c\u300d", "\uff08\uff09"):
        if text.count(left) > text.count(right) and text.rfind(left) > text.rfind(right):
            return left
    # After a digit, the mark means inches.
    if len(re.findall(r'(?<!\d)"', text)) % 2 and re.search(r'(?:^|[\s(])"[^"]*$', text):
        return "a quotation"
    return None


def _lists(text: str) -> bool:
    """Whether a text is a list of tags, or of lines with dashes or numbers."""
    last = text.rsplit("\n", 1)[-1]
    if "\n" in text and re.match(r"\s*(?:[-*\u2022]|\d+[.)])\s", last):
        return True
    parts = text.split(",")
    return len(parts) >= 4 and sum(len(part.split()) <= 4 for part in parts) >= 0.8 * len(parts)
