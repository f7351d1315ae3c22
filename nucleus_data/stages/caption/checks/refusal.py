"""The check `refusal`: the model declines, or says that it was given no picture.

Regular expressions match the beginnings of sentences outside of quotation marks: the first person,
unable to describe something. So neither a sign that says "sorry, closed" nor "I can't believe it"
is a refusal. A linear model finds phrasings that no expression matches.
"""

import re
from typing import ClassVar

from nucleus_data.stages.caption.checks.check import LearnedCheck, Said
from nucleus_data.stages.caption.checks.phrases import anywhere, at_sentences, phrases
from nucleus_data.stages.caption.checks.text import shortened

# One of these is in every text that a line of the section `inside` matches.
_INSIDE = (
    *(" me", " my ", " our ", " i ", " i'"),
    *("cannot", "can't", "could", "can not", "possible", "difficult", "hard", "unclear", "clear"),
    *("known", "information", "context", "detail", "unanswerable"),
)
# Who begins so goes on with a description, even with one that is empty or garbled.
_PROMISE = re.compile(
    r"(?:(?:sure|okay|ok|yes|certainly|of course)[,.!]+ )?"
    r"(?:let me|i(?:'ll| will|'m going to| am going to)) (?:now )?(?:describe|caption|summarize)\b",
    re.IGNORECASE,
)
# A full stop or comma on its own, although others are attached: something before it was omitted.
# What is left of such an answer, the linear model never learned.
_LOST = re.compile(r"\s[.,](?:\s|$)")
_ATTACHED = re.compile(r"\w[.,](?:\s|$)")


class Refusal(LearnedCheck):
    """The model declines to answer, or says that there is no picture."""

    name: ClassVar[str] = "refusal"
    rank: ClassVar[int] = 60

    def find(self, said: Said) -> str | None:
        """Matches refusals in some twenty languages, then uses the linear model."""
        text = said.straight
        found = at_sentences(phrases("refusal", "english"), text) or at_sentences(
            phrases("refusal", "others"), text
        )
        folded = text.casefold()
        if not found and any(word in folded for word in _INSIDE):
            found = anywhere(phrases("refusal", "inside"), text)
        if found:
            return f"the model said {shortened(found.strip('. '))!r}"
        other = _PROMISE.match(text) or (_LOST.search(text) and _ATTACHED.search(text))
        words = "" if other else self.telling_words(said)
        return f"it reads as a refusal: {shortened(words)!r}" if words else None
