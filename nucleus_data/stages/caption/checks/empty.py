"""The check `empty`: nothing is said."""

from typing import ClassVar

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.prompts import visible

# Said in place of a caption; with or without brackets and a full stop.
NOTHING = frozenset(["n/a", "none", "nan", "undefined", "no caption", "no description", "no text"])


class Empty(Check):
    """Nothing that can be seen, or a word that stands for nothing (`N/A`)."""

    name: ClassVar[str] = "empty"
    rank: ClassVar[int] = 10

    def find(self, said: Said) -> str | None:
        """No visible character, at most three that are no letters, or `NOTHING`."""
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
