"""Settings of `caption`: which model, and what it is asked; a variant is one caption."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nucleus_data.config import KEEPS_VALUES
from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.stages.caption.prompts import PLACEHOLDER, PROMPTS, unknown_places


class Variant(BaseModel):
    """One caption of every image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(
        description="The prompt's name, kept in the table; those with a text of their own are"
        f" {', '.join(PROMPTS)}."
    )
    text: str | None = Field(
        default=None,
        min_length=1,
        description="What the model is asked; the text of the prompt's name if left out. {caption}"
        " in it stands for the caption that the record came with.",
    )
    max_tokens: int = Field(default=256, ge=1, le=2048, description="Longest caption, in tokens.")
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="0 takes the likeliest token (greedy)."
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Share of probability that sampling keeps."
    )
    presence_penalty: float = Field(
        default=0.0,
        ge=-2,
        le=2,
        description="Taken from the logits of tokens that the caption already has.",
    )

    @model_validator(mode="after")
    def _has_text(self) -> "Variant":
        if self.text is None and self.prompt not in PROMPTS:
            raise ValueError(
                f"prompt {self.prompt!r} has no text; give one, or use one of {sorted(PROMPTS)}"
            )
        return self

    @model_validator(mode="after")
    def _has_known_places(self) -> "Variant":
        if unknown := unknown_places(self.template):
            raise ValueError(
                f"the text has {{{unknown[0]}}}; the only place is {PLACEHOLDER}, for the caption"
                f" that the record came with. Written {{{{{unknown[0]}}}}}, the model reads it so"
            )
        return self

    @property
    def template(self) -> str:
        """What the model is asked, perhaps with a place for the record's caption."""
        return self.text or PROMPTS[self.prompt]

    @property
    def refines(self) -> bool:
        """Whether the record's caption is part of the question."""
        return PLACEHOLDER in self.template


class CaptionSettings(EngineSettings):
    """The caption stage: which model, and what it is asked."""

    variants: Mapping[str, Variant] = Field(
        default_factory=lambda: {
            "short": Variant(prompt="short", max_tokens=96),
            "long": Variant(prompt="long", max_tokens=256),
        },
        description="Caption variants: name (the table is caption.NAME) to prompt and sampling.",
    )
    max_upstream_tokens: int = Field(
        default=512,
        ge=1,
        json_schema_extra=KEEPS_VALUES,
        description="Longest caption, in tokens, that a record may bring into a question; a variant"
        " that would ask about a longer one fails, for `nucleus retry`. Not in the config hash.",
    )
    probes: int = Field(
        default=32,
        ge=0,
        le=1024,
        json_schema_extra=KEEPS_VALUES,
        description="Truth tests: of the first pictures, about so many are asked about once more,"
        " alone, and the run stops if captions are of other pictures; one in four of a small run."
        " 0 tests nothing. Not in the config hash.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Every request draws with a hash of this, the record's id and the variant.",
    )

    @field_validator("variants")
    @classmethod
    def _names(cls, variants: Mapping[str, Variant]) -> Mapping[str, Variant]:
        wrong = [name for name in variants if not name.isidentifier() or not name.islower()]
        if wrong or not variants:
            raise ValueError(
                f"needs one variant or more, named in lower case letters, digits and _; got {wrong}"
            )
        return variants
