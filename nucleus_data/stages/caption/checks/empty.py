"""The check `empty`: the answer has no content."""

from typing import ClassVar

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.prompts import visible

# Fillers in place of a caption, with or without brackets and a full stop.
NOTHING = frozenset(["n/a", "none", "nan", "undefined", "no caption", "no description", "no text"])


class Empty(Check):
    """Nothing visible, or a filler in place of a caption (`N/A`)."""

    name: ClassVar[str] = "empty"
    rank: ClassVar[int] = 10

    def find(self, said: Said) -> str | None:
        """Finds texts without visible characters, of up to three punctuation marks, or a filler."""
        text = said.text.strip()
        if not visible(text):
            return f"the model ended after {said.tokens} tokens with {said.text[:40]!r}"
        short = len(text) < 4 and text.isascii() and not any(c.isalnum() for c in text)
        if (
            short
            or text == "null"
            or (len(text) < 24 and text.strip("[]()<>.\"' ").casefold() in NOTHING)
        ):
            return f"the model said {text!r}"
        return None
