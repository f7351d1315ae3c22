"""The check `words`: the answer is shorter or longer than its variant asks for."""

from typing import ClassVar

from pydantic import Field

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.text import count_words


class Words(Check):
    """Fewer or more words than `caption.variants.NAME.words` allows."""

    name: ClassVar[str] = "words"
    rank: ClassVar[int] = 80

    slack: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Tolerance below the minimum and above the maximum, as a share of these,"
        " because models can't count.",
    )

    def find(self, said: Said) -> str | None:
        """Counts words; in scripts without spaces, 0.6 per character."""
        if said.words is None:
            return None
        count = count_words(said.prose)
        low, high = said.words
        if low * (1 - self.slack) <= count <= high * (1 + self.slack):
            return None
        bounds = f"{low} to {high}, {self.slack:.0%} more or less"
        return f"it has {count:.0f} words, asked for are {bounds}"
