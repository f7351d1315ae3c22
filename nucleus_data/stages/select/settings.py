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
        min_length=1,
        description="SQL condition on one record; if it is true, the record is rejected or "
        "flagged.",
    )
    action: Action = Field(
        "reject",
        description="Effect of the rule: 'reject', or 'flag', which only marks the record.",
    )
    reason: str = Field("", description="Short explanation for people; empty: the rule's name.")


class TierSettings(BaseModel):
    """Quality tiers A1, A2 and so on, by a score."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    score: str | None = Field(
        None,
        description="SQL expression for a record's score, a number computed from its signals; "
        "null: no tiers.",
    )
    bounds: tuple[float, ...] = Field(
        (5.0, 5.5, 6.0, 6.5, 6.8),
        min_length=1,
        description="Minimum scores of A1, A2, ..., in rising order; records below the first have "
        "no tier.",
    )

    @field_validator("bounds")
    @classmethod
    def _rising(cls, bounds: tuple[float, ...]) -> tuple[float, ...]:
        if not all(a < b for a, b in pairwise(bounds)):
            raise ValueError("bounds must be in increasing order")
        return bounds


class CurriculumSettings(BaseModel):
    """Curriculum buckets B1 to B8 by tier and size, and B9 and B10 for the premium tail."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    fitted: str | dict[str, Any] | None = Field(
        None,
        description="Constants of the draw, as written by `nucleus fit-curriculum`: the path of "
        "the JSON file, or its content.",
    )
    seed: int = Field(0, description="Seed of the random draw of buckets.")
    temperature: float = Field(
        0.7,
        gt=0,
        description="Temperature of the draw; the higher it is, the more the buckets overlap.",
    )
    size: str = Field(
        "width::BIGINT * height",
        min_length=1,
        description="SQL expression for the size of a record; by default, its number of pixels.",
    )
    quality_weight: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Weight of the tier in a record's place in the curriculum, from 0 to 1; its "
        "size has the rest.",
    )
    reach: float = Field(
        1.75,
        gt=0,
        description="The centres of B1 to B8 are spaced evenly from minus this to this, in "
        "standard deviations of the places.",
    )
    variance: float = Field(1.0, gt=0, description="Variance of a bucket (square of its width).")
    premium: str | None = Field(
        None,
        min_length=1,
        description="SQL condition for premium records, which are in B9 or B10 instead of B1 to "
        "B8; null: there are none.",
    )
    again: float = Field(
        0.15,
        ge=0,
        le=1,
        description="Share of the premium records that are in B10, which are shown with B9 and "
        "again at the end.",
    )


class PlaceholderSettings(BaseModel):
    """When a file counts as a placeholder: one image ("not available") in place of many."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sites: int | None = Field(
        10,
        ge=2,
        description="A file whose bytes come from at least this many sites (registered domains) "
        "is a placeholder, of which no copy is kept; null: not checked.",
    )
    captions: int | None = Field(
        30,
        ge=2,
        description="A file whose bytes have at least this many different captions is a "
        "placeholder, too; null: not checked.",
    )


class SelectSettings(BaseModel):
    """Settings of `select`: which records are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rules: dict[str, RuleSettings] = Field(
        default_factory=dict,
        description="Rules by name, each a condition or {where, action, reason}; null removes a "
        "rule.",
    )
    drop_duplicates: bool = Field(
        True,
        description="Whether to keep only one image of each cluster of the duplicates that "
        "`dedup` found.",
    )
    # Part of a selection's hash only if enough files are equal for a placeholder.
    placeholders: PlaceholderSettings = Field(
        PlaceholderSettings(), description="Detection of placeholders.", json_schema_extra=ADDED
    )
    prefer: tuple[str, ...] = Field(
        PREFER,
        description="SQL terms of ORDER BY that decide which duplicate is kept; ties go to the "
        "smaller id. By default the better copy: not enlarged, the most pixels, the least damage.",
    )
    tiers: TierSettings = Field(TierSettings(), description="Quality tiers.")
    # Added when selections without it existed: see `config.ADDED`.
    curriculum: CurriculumSettings | None = Field(
        None, description="Curriculum buckets; null: none.", json_schema_extra=ADDED
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
