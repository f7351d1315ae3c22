"""Whether what the model said is a caption."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Said:
    """What a model answered, and what it was asked.

    Attributes:
        text: The answer.
        finish_reason: `stop` or `length`.
        tokens: Of the answer.
        max_tokens: That it might have.
        question: The full text that was asked.
        template: The prompt, before anything was put in its places.
        upstream: The caption that the record came with, if it is part of the question.
        facts: Columns of the record that are part of the question.
        words: Least and most words of the variant, if it has such a class.
        language: That the caption should be in, if one is set.
        schema: JSON schema of the answer, if there is one.
    """

    text: str
    finish_reason: str
    tokens: int
    max_tokens: int
    question: str
    template: str
    upstream: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[int, int] | None = None
    language: str | None = None
    schema: str | None = None


@dataclass(frozen=True)
class Fault:
    """Why an answer is no caption.

    Attributes:
        check: Name of the check.
        detail: What it found, for people.
    """

    check: str
    detail: str


def check_caption(said: Said, checks: Any) -> Fault | None:
    """The first fault of an answer; None if it is a caption."""
    return None
