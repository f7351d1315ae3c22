"""Settings of `caption`: which model, and what it is asked; a variant is one caption."""

from collections.abc import Mapping

from pydantic import Field, field_validator

from nucleus_data.config import KEEPS_VALUES, nearest
from nucleus_data.engines.captioner import EngineSettings
from nucleus_data.stages.caption.checks import KINDS, Check, Checks
from nucleus_data.stages.caption.variant import PICTURE, Variant

__all__ = ["CaptionSettings", "Variant"]

RESERVED = (PICTURE, "source")  # `from: picture`; `source` is the caption that a record came with


class CaptionSettings(EngineSettings):
    """The caption stage: which model, and what it is asked."""

    variants: Mapping[str, Variant] = Field(
        default_factory=lambda: {
            "short": Variant(prompt="short", max_tokens=96),
            "long": Variant(prompt="long", max_tokens=256),
        },
        description="Caption variants: name (the table is caption.NAME) to prompt and sampling.",
    )
    attempts: int = Field(
        default=3,
        ge=1,
        le=16,
        json_schema_extra=KEEPS_VALUES,
        description="How often a caption is asked for until the checks find nothing. Not in the"
        " config hash: a caption is the first answer that passes, however many may follow.",
    )
    checks: Checks = Field(
        default_factory=Checks, description="What is checked of each caption, one section a check."
    )
    language: str | None = Field(
        default=None,
        pattern="^[a-z]{2}$",
        description="Language that captions must have, as a code of two letters (en); null: any.",
    )
    max_upstream_tokens: int = Field(
        default=512,
        ge=1,
        json_schema_extra=KEEPS_VALUES,
        description="Longest caption or other value, in tokens, that a record may bring into a"
        " question; a variant that would ask about a longer one fails, for `nucleus retry`. Not in"
        " the config hash.",
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
        description="Every request that is drawn (temperature above 0) draws with a hash of this,"
        " the record's id, the variant and the attempt.",
    )

    @field_validator("variants")
    @classmethod
    def _names(cls, variants: Mapping[str, Variant]) -> Mapping[str, Variant]:
        wrong = [name for name in variants if not name.isidentifier() or not name.islower()]
        if wrong or not variants:
            raise ValueError(
                f"needs one variant or more, named in lower case letters, digits and _; got {wrong}"
            )
        if taken := [name for name in variants if name in RESERVED]:
            raise ValueError(f"{taken[0]!r} has a meaning of its own; name the variant otherwise")
        return variants

    @field_validator("variants")
    @classmethod
    def _chains(cls, variants: Mapping[str, Variant]) -> Mapping[str, Variant]:
        in_order(variants)
        return variants

    def checks_of(self, name: str) -> dict[str, Check]:
        """The checks, on or off, that look at something that a variant has; by name."""
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
        """The variant that a variant is made from; None for one of the picture."""
        variant = self.variants[name]
        return variant.parent if variant.chained else None

    def chain(self, name: str) -> list[str]:
        """A variant, the one it is made from, and so on to one of the picture."""
        found = [name]
        while (above := self.parent(found[-1])) is not None:
            found.append(above)
        return found


def in_order(variants: Mapping[str, Variant]) -> list[str]:
    """The variants' names, each behind the one that it is made from.

    Raises:
        ValueError: One is made from a variant that is not there, or in a circle from itself.
    """
    order: list[str] = []
    for name in variants:
        chain = [name]
        while (variant := variants[chain[-1]]).chained and chain[-1] not in order:
            if variant.parent not in variants:
                raise ValueError(
                    f"{chain[-1]}: from names {variant.parent!r}, which is no variant; allowed:"
                    f" {PICTURE}, {', '.join(n for n in variants if n != chain[-1])}."
                    f"{nearest(variant.parent, [PICTURE, *variants])}"
                )
            if variant.parent in chain:
                circle = [*chain[chain.index(variant.parent) :], variant.parent]
                raise ValueError(
                    f"variants are made from each other in a circle: {' from '.join(circle)};"
                    f" let one of them be from: {PICTURE}"
                )
            chain.append(variant.parent)
        order += [each for each in reversed(chain) if each not in order]
    return order
