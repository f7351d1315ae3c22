"""The check `boilerplate`: stock phrases about the picture as a picture ("The image shows").

By default it flags, and does not ask again: most captioners open like this in every attempt, and a
good caption follows. A prompt that forbids it works better; the report shows the rate.
"""

from typing import ClassVar

from pydantic import Field

from nucleus_data.stages.caption.checks.check import Action, LearnedCheck, Said
from nucleus_data.stages.caption.checks.phrases import at_opening, at_sentences, phrases
from nucleus_data.stages.caption.checks.text import shortened


class Boilerplate(LearnedCheck):
    """Stock phrases about the picture as a picture: "The image shows", "Overall, the scene"."""

    name: ClassVar[str] = "boilerplate"
    rank: ClassVar[int] = 90

    action: Action = Field(
        default="flag",
        description="What happens to a caption that fails the check. flag: it is kept and marked;"
        " ask_again: it is generated again, which seldom helps; off: the check does not run.",
    )

    def find(self, said: Said) -> str | None:
        """Matches openings, closing remarks about the mood, and then the linear model."""
        text = said.straight
        closing = phrases("boilerplate", "closing")
        found = at_opening("boilerplate", text) or at_sentences(closing, text)
        if found:
            return f"it says {shortened(found.strip())!r}"
        words = self.telling_words(said)
        return f"it reads as words about the picture: {shortened(words)!r}" if words else None
