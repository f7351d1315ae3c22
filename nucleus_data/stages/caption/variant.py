"""Settings of one caption variant: prompt, inputs, sampling, and the pictures that get it."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from nucleus_data.config import KEEPS_VALUES
from nucleus_data.stages.caption.places import CAPTION, MADE, check_places, columns, places
from nucleus_data.stages.caption.prompts import (
    PROMPTS,
    Prompt,
    find_prompt,
    read_text,
    schema_text,
    visible,
)

PICTURE = "picture"  # default of `from`: made from the picture, not from another variant
OWN = "own"  # the prompt name of a `text` without one


class Variant(BaseModel):
    """Settings of one caption variant."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_by_name=True,
        serialize_by_alias=True,
    )

    prompt: str | None = Field(
        default=None,
        description="A built-in prompt, by its name (short, which is short@1) or its name and"
        " version (short@2); the path of a file of your own; or, with `text`, any name, stored in"
        f" the table. Built in are {', '.join(PROMPTS)}.",
    )
    text: str | None = Field(
        default=None,
        description="Text of the prompt, in place of a named one. Placeholders: {caption} for the"
        " upstream caption, {source.NAME} for another upstream column, {made} for the caption of"
        " the variant named by `from`.",
    )
    parent: str = Field(
        default=PICTURE,
        alias="from",
        description="What the caption is made from: picture, or another variant, whose caption is"
        " {made}.",
    )
    model: str | None = Field(
        default=None,
        description="Name of the model in caption.models to use; null: caption.model.",
    )
    picture: bool | None = Field(
        default=None,
        description="Whether the model sees the picture; null: only if `from` is picture.",
    )
    max_tokens: int = Field(
        default=256, ge=1, le=2048, description="Maximum length of the caption, in tokens."
    )
    min_tokens: int = Field(
        default=0,
        ge=0,
        le=2048,
        description="Minimum length of the caption, in tokens; not with a schema.",
    )
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="Sampling temperature; 0 is greedy decoding."
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Nucleus sampling: probability mass to sample from."
    )
    presence_penalty: float = Field(
        default=0.0,
        ge=-2,
        le=2,
        description="Subtracted from the logits of tokens that the caption already contains.",
    )
    repetition_penalty: float = Field(
        default=1.0,
        gt=0,
        le=2,
        description="Divides the logits of tokens in the question or the caption so far; 1: off.",
    )
    stop: tuple[str, ...] = Field(
        default=(), description="Texts that end the caption, and are not part of it."
    )
    system: str | None = Field(
        default=None, min_length=1, description="System prompt; null: caption.system."
    )
    answer: str | dict[str, Any] | None = Field(
        default=None,
        alias="schema",
        description="JSON schema of the answer: a file, or the schema itself; null: that of the"
        " built-in prompt, if it has one (attributes).",
    )
    words: tuple[int, int] | None = Field(
        default=None, description="Minimum and maximum number of words, for the check `words`."
    )
    share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        json_schema_extra=KEEPS_VALUES,
        description="Share of the pictures that get this variant, drawn by a hash of the id and"
        " `share_key`. Not in the config hash.",
    )
    where: str | None = Field(
        default=None,
        min_length=1,
        json_schema_extra=KEEPS_VALUES,
        description="SQL condition on a record's signals, for example similarity < 0.3: only"
        " pictures for which it is true get this variant. Not in the config hash.",
    )
    share_key: str | None = Field(
        default=None,
        min_length=1,
        json_schema_extra=KEEPS_VALUES,
        description="Key of the hash that draws the share; null: the variant's name. Variants"
        " with the same key and share get the same pictures; others are drawn independently. Not"
        " in the config hash.",
    )
    _prompt: Prompt = PrivateAttr()

    @field_validator("words")
    @classmethod
    def _words(cls, words: tuple[int, int] | None) -> tuple[int, int] | None:
        if words is not None and not 0 <= words[0] <= words[1]:
            raise ValueError("needs a minimum and a maximum number of words, for example [10, 40]")
        return words

    @field_validator("stop")
    @classmethod
    def _stop(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("a stop text must not be empty; example: ['\\n']")
        return stop

    @model_validator(mode="after")
    def _reads_texts(self) -> "Variant":
        if self.text is not None:
            if not visible(self.text):
                raise ValueError("the text is empty; give one, or the name of a prompt")
            prompt = Prompt(self.prompt or OWN, self.text)
        elif self.prompt is None:
            raise ValueError(f"needs a prompt or a text; built-in prompts: {', '.join(PROMPTS)}")
        else:
            prompt = find_prompt(self.prompt)
        check_places(prompt.text)
        if self.answer is not None:
            content = self.answer
            if isinstance(content, str):
                content = read_text(content, "a JSON schema")
            prompt = Prompt(prompt.name, prompt.text, schema_text(content))
        # Kept, since the file may change later, or not exist where a worker runs.
        self._prompt = prompt
        return self

    @model_validator(mode="after")
    def _fits_its_parent(self) -> "Variant":
        made = MADE in places(self.template)
        if made and self.parent == PICTURE:
            raise ValueError(
                "the text has {made}, but `from` is picture; set `from` to the variant whose"
                " caption to use"
            )
        if self.parent != PICTURE and not made:
            raise ValueError(
                f"from: {self.parent} needs a text with {{made}}, for the caption of that variant;"
                " built-in prompts that have it:"
                f" {', '.join(n for n, text in PROMPTS.items() if MADE in places(text))}"
            )
        if self.picture is False and not places(self.template):
            raise ValueError(
                "picture: false needs a text with a placeholder, or there is nothing to ask about"
            )
        if self.min_tokens and self.schema_text is not None:
            raise ValueError(
                f"min_tokens {self.min_tokens} has no effect with a schema, whose answer ends where"
                " its JSON does; leave it out, or give the schema a minLength or minItems"
            )
        if self.min_tokens > self.max_tokens:
            raise ValueError(
                f"min_tokens {self.min_tokens} is more than max_tokens {self.max_tokens}"
            )
        return self

    @property
    def template(self) -> str:
        """The prompt's text, possibly with placeholders."""
        return self._prompt.text

    @property
    def prompt_name(self) -> str:
        """The prompt's name, with its version if it is built in."""
        return self._prompt.name

    @property
    def schema_text(self) -> str | None:
        """The JSON schema of the answer, as JSON; None if there is none."""
        return self._prompt.schema

    @property
    def chained(self) -> bool:
        """Whether it is made from another variant."""
        return self.parent != PICTURE

    @property
    def sees_picture(self) -> bool:
        """Whether the model is given the picture."""
        return not self.chained if self.picture is None else self.picture

    @property
    def refines(self) -> bool:
        """Whether the upstream caption is part of the question."""
        return CAPTION in places(self.template)

    @property
    def facts(self) -> list[str]:
        """Names of the other upstream columns that are part of the question."""
        return columns(self.template)

    @property
    def drawn(self) -> bool:
        """Whether the first attempt is sampled, and so depends on the seed."""
        return self.temperature > 0

    def values(self) -> Mapping[str, Any]:
        """Returns the variant's settings that affect its captions, for the config hash."""
        content: dict[str, Any] = {
            "text": self.template,
            "schema": self.schema_text,
            "sees_picture": self.sees_picture,
            "max_tokens": self.max_tokens,
            "min_tokens": self.min_tokens,
            "temperature": self.temperature,
            "presence_penalty": self.presence_penalty,
            "repetition_penalty": self.repetition_penalty,
            "top_p": self.top_p,
            "stop": list(self.stop),
        }
        return {name: value for name, value in content.items() if value is not None}
