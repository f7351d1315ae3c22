"""The check `chatter`: words addressed to the user ("Sure! Here is a caption:") in a caption."""

from typing import ClassVar

from nucleus_data.stages.caption.checks.check import LearnedCheck, Said
from nucleus_data.stages.caption.checks.phrases import at_opening, at_sentences, phrases
from nucleus_data.stages.caption.checks.text import shortened


class Chatter(LearnedCheck):
    """Words addressed to the user: "Sure! Here is a caption:", "Let me know"; Markdown fences."""

    name: ClassVar[str] = "chatter"
    rank: ClassVar[int] = 65

    def find(self, said: Said) -> str | None:
        """Looks for Markdown fences, matches openings and sentences, then uses the linear model."""
        if said.schema:
            return None
        text = said.straight
        if "```" in text:
            return "it has a fence of Markdown (```) in it"
        closing = phrases("chatter", "closing")
        found = at_opening("chatter", text) or at_sentences(closing, text)
        if found:
            return f"it says {shortened(found.strip())!r}"
        words = self.telling_words(said)
        return f"it reads as words to the one who asks: {shortened(words)!r}" if words else None
