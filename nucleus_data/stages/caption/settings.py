"""Settings of the stage `caption`: models, variants, checks, attempts."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nucleus_data.config import ADDED, KEEPS_VALUES, nearest, spelled
from nucleus_data.stages.caption.checks import KINDS, Check, Checks
from nucleus_data.stages.caption.models import OWN, OtherModel, PricedModel, like_the_stage
from nucleus_data.stages.caption.variant import PICTURE, Variant

__all__ = ["CaptionSettings", "Variant"]

Language = Annotated[str, spelled("[a-z]{2}", "a two-letter code, such as en")]
RESERVED = (PICTURE, "source")  # `from: picture`; `source` is the caption that a record came with


class Mix(BaseModel):
    """Wanted shares of captioned records by the origin of their captions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    web: float = Field(ge=0, le=1, description="Share of records that keep their own caption.")
    refined: float = Field(
        ge=0, le=1, description="Share with a caption made from their own one and the picture."
    )
    synthesized: float = Field(
        ge=0, le=1, description="Share with captions made from the picture only."
    )

    @model_validator(mode="after")
    def _whole(self) -> "Mix":
        total = self.web + self.refined + self.synthesized
        if abs(total - 1) > 0.005:
            raise ValueError(f"the shares add up to {total:g}; they must add up to 1")
        return self


class CaptionSettings(PricedModel):
    """Settings of the caption stage."""

    variants: Mapping[str, Variant] = Field(
        default_factory=lambda: {
            "short": Variant(prompt="short", max_tokens=96),
            "long": Variant(prompt="long", max_tokens=256),
        },
        description="Caption variants by name; each has its own table, caption.NAME.",
    )
    models: Mapping[str, OtherModel] = Field(
        default_factory=dict,
        json_schema_extra=ADDED,
        description="Further models, under names of your choice, for variants that set `model`."
        " Settings left out are inherited from `caption`, except revision, servers, vllm_args and"
        " template_args.",
    )
    attempts: int = Field(
        default=3,
        ge=1,
        le=16,
        json_schema_extra=KEEPS_VALUES,
        description="Maximum number of attempts to get a caption that passes all checks. Not in"
        " the config hash: a caption is the first answer that passes, whatever the maximum.",
    )
    rounds: int = Field(
        default=3,
        ge=0,
        json_schema_extra=KEEPS_VALUES,
        description="Maximum number of times that `nucleus retry caption` generates a caption"
        " again, each time with further attempts. Not in the config hash.",
    )
    checks: Checks = Field(
        default_factory=Checks, description="Checks of captions, one section per check."
    )
    language: Language | None = Field(
        default=None,
        description="Expected language of captions, as a two-letter code (en); null: any.",
    )
    max_upstream_tokens: int = Field(
        default=512,
        ge=1,
        json_schema_extra=KEEPS_VALUES,
        description="Maximum number of tokens of an upstream caption or other value in a"
        " question; if one is longer, the variant fails, and can be retried. Not in the config"
        " hash.",
    )
    probes: int = Field(
        default=32,
        ge=0,
        le=1024,
        json_schema_extra=KEEPS_VALUES,
        description="Truth tests: about this many of the first pictures (one in four of a small"
        " run) are captioned once more, each alone; the run stops if captions turn out to belong"
        " to other pictures. 0 turns these tests off. Not in the config hash.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Seed of requests with a temperature above 0: each uses a hash of this seed,"
        " the record's id, the variant and the attempt.",
    )

    preserve: str | None = Field(
        default=None,
        min_length=1,
        json_schema_extra=KEEPS_VALUES,
        description="SQL condition on a record's signals: where it is true, the upstream caption"
        " is kept for training, and counts as web in the mix; null: wherever there is one. Not in"
        " the config hash.",
    )
    mix: Mix | None = Field(
        default=None,
        json_schema_extra=KEEPS_VALUES,
        description="Wanted mix of upstream, refined and synthesized captions, shown beside the"
        " actual one. Not in the config hash.",
    )

    @field_validator("variants")
    @classmethod
    def _names(cls, variants: Mapping[str, Variant]) -> Mapping[str, Variant]:
        wrong = [name for name in variants if not name.isidentifier() or not name.islower()]
        if wrong or not variants:
            raise ValueError(
                "needs at least one variant, named with lowercase letters, digits and _;"
                f" got {wrong}"
            )
        if taken := [name for name in variants if name in RESERVED]:
            raise ValueError(f"{taken[0]!r} is reserved; choose another name for the variant")
        return variants

    @field_validator("variants")
    @classmethod
    def _chains(cls, variants: Mapping[str, Variant]) -> Mapping[str, Variant]:
        in_order(variants)
        return variants

    @model_validator(mode="before")
    @classmethod
    def _like_the_stage(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "models" in given:
            return {**given, "models": like_the_stage(given["models"], given)}
        return given

    @model_validator(mode="after")
    def _models_are_there(self) -> "CaptionSettings":
        for name in self.models:
            if not name.isidentifier() or not name.islower():
                raise ValueError(
                    f"models.{name}: a name can contain only lowercase letters, digits and _, and"
                    " must not begin with a digit"
                )
        for name, variant in self.variants.items():
            if variant.model is not None and variant.model not in self.models:
                raise ValueError(
                    f"variants.{name}.model is {variant.model!r}, which is not in"
                    f" caption.models; allowed: {', '.join(self.models) or 'none'}."
                    f"{nearest(variant.model, list(self.models))} (Variants without a model use"
                    " caption.model)"
                )
        for name in self.asked_of():
            own = self.models[name] if name else self
            if own.engine != "server" or own.servers.urls:
                continue
            if not name:
                raise ValueError(
                    "engine: server needs servers.urls, the base URL of each server, for example"
                    " [http://gpu1:8000/v1]"
                )
            raise ValueError(
                f"models.{name}: engine: server needs its own servers.urls, as a server serves"
                " only one model; or choose another engine (vllm)"
            )
        return self

    def asked_of(self) -> dict[str, list[str]]:
        """Returns model -> variants that use it; first `caption.model`, under the name `OWN`."""
        asked: dict[str, list[str]] = {OWN: []}
        for name, variant in self.variants.items():
            asked.setdefault(variant.model or OWN, []).append(name)
        return {model: names for model, names in asked.items() if names}

    def with_model(self, name: str) -> "CaptionSettings":
        """Returns the same settings with one of `models` as `caption.model`."""
        if name == OWN:
            return self
        own = self.models[name]
        update = {field: getattr(own, field) for field in PricedModel.model_fields}
        return self.model_copy(update=update)

    def of(self, variant: str) -> "CaptionSettings":
        """Returns the settings for a variant: with its model as `caption.model`."""
        return self.with_model(self.variants[variant].model or OWN)

    def checks_of(self, name: str) -> dict[str, Check]:
        """Returns the checks, on or off, that apply to a variant, by name."""
        variant = self.variants[name]
        applies = {
            "contradiction": bool(variant.facts),
            "invalid_json": variant.schema_text is not None,
            "language": self.language is not None,
            "words": variant.words is not None,
        }
        every = (getattr(self.checks, kind.name) for kind in KINDS)
        return {each.name: each for each in every if applies.get(each.name, True)}

    def parent(self, name: str) -> str | None:
        """Returns the variant that a variant is made from; None if it is made from the picture."""
        variant = self.variants[name]
        return variant.parent if variant.chained else None

    def chain(self, name: str) -> list[str]:
        """Returns a variant, its parent, and so on up to one made from the picture."""
        names = [name]
        while (above := self.parent(names[-1])) is not None:
            names.append(above)
        return names


def in_order(variants: Mapping[str, Variant]) -> list[str]:
    """Sorts the variants' names so that parents come before their children.

    Raises:
        ValueError: A parent does not exist, or there is a cycle.
    """
    order: list[str] = []
    for name in variants:
        chain = [name]
        while (variant := variants[chain[-1]]).chained and chain[-1] not in order:
            if variant.parent not in variants:
                raise ValueError(
                    f"{chain[-1]}: from is {variant.parent!r}, which is not a variant; allowed:"
                    f" {PICTURE}, {', '.join(n for n in variants if n != chain[-1])}."
                    f"{nearest(variant.parent, [PICTURE, *variants])}"
                )
            if variant.parent in chain:
                circle = [*chain[chain.index(variant.parent) :], variant.parent]
                raise ValueError(
                    f"variants depend on each other in a cycle: {' from '.join(circle)};"
                    f" make one of them from: {PICTURE}"
                )
            chain.append(variant.parent)
        order += [variant_name for variant_name in reversed(chain) if variant_name not in order]
    return order
