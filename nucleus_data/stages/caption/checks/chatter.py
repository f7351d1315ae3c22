"""The check `chatter`: words to the one who asks ("Sure! Here is a caption:") in a caption."""

from typing import ClassVar

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.phrases import START, phrases
from nucleus_data.stages.caption.checks.text import shortened


class Chatter(Check):
    """Words to the one who asks: "Sure! Here is a caption:", "Let me know", a fence of Markdown."""

    name: ClassVar[str] = "chatter"
    rank: ClassVar[int] = 65

    def find(self, said: Said) -> str | None:
        """Looks at the beginning, at later sentences, and for fences."""
        if said.schema:
            return None
        text = said.own.replace("\u2019", "'")
        if "```" in text:
            return "it has a fence of Markdown (```) in it"
        found = phrases("chatter", "opening", r"^\W*").search(text) or phrases(
            "chatter", "closing", START
        ).search(text)
        return f"it says {shortened(found[0].strip())!r}" if found else None
