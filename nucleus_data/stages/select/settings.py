"""Settings of `select`: rules, the order of preference, quality tiers, curriculum buckets."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nucleus_data.config import ADDED
from nucleus_data.stages.compare.preference import PREFER

Action = Literal["reject", "flag"]


class RuleSettings(BaseModel):
    """One rule, as written in YAML (a bare string is its condition)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    where: str = Field(
        min_length=1, description="SQL condition on one record; true rejects or flags it."
    )
    action: Action = Field("reject", description="'reject' or 'flag'.")
    reason: str = Field("", description="A few words for people; by default the rule's name.")


class TierSettings(BaseModel):
    """Quality tiers A1, A2 and so on, by a score."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    score: str | None = Field(
        None, description="SQL: a number for one record, from its signals; null for no tiers."
    )
    bounds: tuple[float, ...] = Field(
        (5.0, 5.5, 6.0, 6.5, 6.8),
        min_length=1,
        description="The lowest score of A1, A2, ...; what is below the first has no tier.",
    )

    @field_validator("bounds")
    @classmethod
    def _rising(cls, bounds: tuple[float, ...]) -> tuple[float, ...]:
        if not all(a < b for a, b in pairwise(bounds)):
            raise ValueError(f"bounds must rise, got {list(bounds)}")
        return bounds


class CurriculumSettings(BaseModel):
    """Curriculum buckets B1 to B8 by tier and size, and B9 and B10 for the premium tail."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    fitted: str | dict[str, Any] | None = Field(
        None,
        description="What `nucleus fit-curriculum` wrote: its JSON file, or the content of one.",
    )
    seed: int = Field(0, description="Seed of the draw.")
    temperature: float = Field(0.7, gt=0, description="Higher: buckets overlap more.")
    size: str = Field(
        "width::BIGINT * height", min_length=1, description="SQL: how large one record is."
    )
    quality_weight: float = Field(
        0.6, ge=0, le=1, description="Share of the tier in a record's place; the rest is its size."
    )
    reach: float = Field(
        1.75,
        gt=0,
        description="The centres of B1 to B8 lie evenly from minus this to this.",
    )
    variance: float = Field(1.0, gt=0, description="Square of a bucket's width.")
    premium: str | None = Field(
        None,
        min_length=1,
        description="SQL condition: true puts a record in B9 or B10, not in B1 to B8; null: none.",
    )
    again: float = Field(
        0.15,
        ge=0,
        le=1,
        description="Share of the premium records that are in B10: shown in B9, and again last.",
    )


class PlaceholderSettings(BaseModel):
    """When a file counts as a placeholder: one image ("not available") in the place of many."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sites: int | None = Field(
        10,
        ge=2,
        description="The same bytes from so many sites (registered domains) are a placeholder, and "
        "none of them is kept; null: not asked.",
    )
    captions: int | None = Field(
        30,
        ge=2,
        description="The same bytes under so many different captions are one; null: not asked.",
    )


class SelectSettings(BaseModel):
    """Settings of `select`: which records are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rules: dict[str, RuleSettings] = Field(
        default_factory=dict,
        description="Rule name -> condition, or {where, action, reason}; null takes a rule away.",
    )
    drop_duplicates: bool = Field(
        True, description="Walk the pairs that `dedup` found and keep one image of each cluster."
    )
    # Part of a selection's hash only if enough files are equal for a placeholder.
    placeholders: PlaceholderSettings = Field(
        PlaceholderSettings(), description="Placeholders.", json_schema_extra=ADDED
    )
    prefer: tuple[str, ...] = Field(
        PREFER,
        description="SQL order that decides which duplicate survives; ties go to the smaller id. "
        "By default the better copy: not enlarged, the most pixels, the least damage.",
    )
    tiers: TierSettings = Field(TierSettings(), description="Quality tiers.")
    # Added when selections without it existed: see `config.ADDED`.
    curriculum: CurriculumSettings | None = Field(
        None, description="Curriculum buckets; null for none.", json_schema_extra=ADDED
    )

    @field_validator("rules")
    @classmethod
    def _named(cls, rules: dict[str, RuleSettings]) -> dict[str, RuleSettings]:
        """Refuses empty names: the ledger gives a rule's name as the reason."""
        for name in rules:
            if not name.strip():
                raise ValueError(f"a rule needs a name, got {name!r}")
        return rules

    @field_validator("rules", mode="before")
    @classmethod
    def _bare_conditions(cls, rules: Any) -> Any:
        if not isinstance(rules, Mapping):
            return rules
        return {
            name: {"where": rule} if isinstance(rule, str) else rule
            for name, rule in rules.items()
            if rule is not None
        }
