"""The base class of caption checks, with their input (`Said`) and output (`Fault`)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.config import ADDED
from nucleus_data.stages.caption.checks.learned import learned
from nucleus_data.stages.caption.checks.text import unquoted, values_of

Action = Literal["ask_again", "flag", "off"]


@dataclass(frozen=True)
class Said:
    """One answer of a model, and everything that a check may know about it.

    Attributes:
        text: The answer, without thinking and trailing special tokens.
        finish_reason: `stop` or `length`.
        at_stop: Whether one of the variant's stop texts ended it.
        tokens: Tokens of the answer.
        max_tokens: Maximum number of tokens that was allowed.
        question: The full text that was asked.
        template: The prompt, before values were substituted for its placeholders.
        upstream: The upstream caption in the question, if there is one.
        facts: Upstream columns in the question, by name.
        words: Minimum and maximum number of words that the variant asks for, if any.
        language: ISO 639-1 code of the expected language, if any.
        schema: JSON schema of the answer, as JSON, if any.
        system: The system prompt, if any.
    """

    text: str
    finish_reason: str = "stop"
    tokens: int = 0
    max_tokens: int = 0
    question: str = ""
    template: str = ""
    upstream: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[int, int] | None = None
    language: str | None = None
    schema: str | None = None
    system: str | None = None
    at_stop: bool = False

    @cached_property
    def prose(self) -> str:
        """The text to check: the answer, or only the values of an answer in JSON."""
        return values_of(self.text) if self.schema else self.text

    @cached_property
    def own(self) -> str:
        """The prose without quotations, as text seen in a picture is not the model's own."""
        return unquoted(self.prose)

    @cached_property
    def straight(self) -> str:
        """`own` with straight apostrophes, as phrases and the linear models have them."""
        return self.own.replace("\u2019", "'")


@dataclass(frozen=True)
class Fault:
    """What one check found wrong with an answer.

    Attributes:
        check: The check's name.
        detail: Description of what was found, for people.
    """

    check: str
    detail: str


class Check(BaseModel, ABC):
    """A caption check: its settings are its fields.

    Attributes:
        name: The check's name: its key in `caption.checks`, and the reason of a failed caption.
        rank: Checks run in ascending order; the first finding names the failure.
        added: Whether the check is newer than existing tables. If so, it enters config hashes only
            when its settings differ from the defaults, so that those tables stay valid.
        action: `ask_again`, `flag`, or `off`.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    name: ClassVar[str]
    rank: ClassVar[int]
    added: ClassVar[bool] = False

    action: Action = Field(
        default="ask_again",
        description="What happens to a caption that fails the check. ask_again: it is generated"
        " again, and fails after the last attempt; flag: it is kept and marked; off: the check"
        " does not run.",
    )

    @abstractmethod
    def find(self, said: Said) -> str | None:
        """Returns what is wrong with an answer, for people; None if nothing is.

        A pure function: the result does not depend on other answers.
        """

    def ready(self, language: str | None) -> None:
        """Checks once, before any work, that the check can run here. Raises RequestError."""


class LearnedCheck(Check):
    """A check that also uses a linear model (see `learned`)."""

    learned: bool = Field(
        default=True,
        description="Whether to also use a linear model, for English phrases that no regular"
        " expression matches.",
        json_schema_extra=ADDED,
    )

    def telling_words(self, said: Said) -> str:
        """Returns the words by which the linear model finds the fault; empty if it does not."""
        return learned(self.name, said.straight) if self.learned else ""
