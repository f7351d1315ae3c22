"""The check `boilerplate`: words about the picture as a picture ("The image shows").

It marks, and does not ask again: most captioners open so, every attempt of the same one does, and
what follows is a good caption. A prompt that forbids it works better; the report shows the rate.
"""

from typing import ClassVar

from pydantic import Field

from nucleus_data.config import ADDED
from nucleus_data.stages.caption.checks.check import Action, Check, Said
from nucleus_data.stages.caption.checks.learned import learned
from nucleus_data.stages.caption.checks.phrases import at_opening, at_sentences, phrases
from nucleus_data.stages.caption.checks.text import shortened


class Boilerplate(Check):
    """Words about the picture as a picture: "The image shows", "Overall, the scene"."""

    name: ClassVar[str] = "boilerplate"
    rank: ClassVar[int] = 90

    action: Action = Field(
        default="flag",
        description="flag: kept, and counted; ask_again: asked again, which seldom helps; off: not"
        " looked for.",
    )
    learned: bool = Field(
        default=True,
        description="Whether a linear model looks too, at English, for words that no expression"
        " knows.",
        json_schema_extra=ADDED,
    )

    def find(self, said: Said) -> str | None:
        """Looks at the beginning, and for the moods at the end."""
        text = said.own.replace("\u2019", "'")
        closing = phrases("boilerplate", "closing")
        found = at_opening("boilerplate", text) or at_sentences(closing, text)
        if found:
            return f"it says {shortened(found.strip())!r}"
        words = learned(self.name, text) if self.learned else ""
        return f"it reads as words about the picture: {shortened(words)!r}" if words else None
