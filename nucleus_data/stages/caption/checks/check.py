"""What a caption check is given, says, and is: a small settings model with one pure function."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.stages.caption.checks.text import unquoted, values_of

Action = Literal["ask_again", "flag", "off"]


@dataclass(frozen=True)
class Said:
    """One answer of a model, and all that a check may know of it.

    Attributes:
        text: What the model said, without thinking and special tokens that it may end with.
        finish_reason: `stop` or `length`.
        at_stop: Whether one of the variant's stop texts ended it.
        tokens: Tokens of the answer.
        max_tokens: Tokens that it was allowed.
        question: The full text that was asked.
        template: The same, before values went into its places.
        upstream: The caption that went into the question, if one did.
        facts: Upstream columns that went into the question, by name.
        words: Fewest and most words that the variant asks for, if it says.
        language: Code of ISO 639-1 of the language that is wanted, if one is.
        schema: JSON schema, as JSON, that the answer must follow, if one is given.
        system: The system prompt, if there is one.
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
        """The text to read: of an answer in JSON the values alone."""
        return values_of(self.text) if self.schema else self.text

    @cached_property
    def own(self) -> str:
        """The prose without what it quotes: text seen in a picture is not the model's own."""
        return unquoted(self.prose)


@dataclass(frozen=True)
class Fault:
    """What one check found wrong with an answer.

    Attributes:
        check: The check's name.
        detail: What was found, for people.
    """

    check: str
    detail: str


class Check(BaseModel, ABC):
    """A caption check: its settings are its fields.

    Attributes:
        name: The check's name: its key in `caption.checks`, and the error of a caption that fails.
        rank: Checks look in this order; the first that finds something names the failure.
        added: Whether it came after tables were written: while its settings are the defaults, it
            is then in no config hash.
        action: `ask_again`, `flag`, or `off`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: ClassVar[str]
    rank: ClassVar[int]
    added: ClassVar[bool] = False

    action: Action = Field(
        default="ask_again",
        description="ask_again: asked again, and no caption after the last attempt; flag: kept, and"
        " counted; off: not looked for.",
    )

    @abstractmethod
    def find(self, said: Said) -> str | None:
        """What is wrong with an answer, for people; None if nothing is.

        A pure function: the same answer has the same fault in any company.
        """

    def ready(self, language: str | None) -> None:
        """Raises RequestError if it can't work here; asked once, before anything starts."""
