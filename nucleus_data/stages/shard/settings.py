"""Settings of `shard`: resolutions, aspect buckets, captions, caps, sizes of tars."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator

from nucleus_data.config import ADDED
from nucleus_data.sets.buckets import SIZES_1024
from nucleus_data.stages.select.draw import NAMES


class ShardSettings(BaseModel):
    """How training shards are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        "train", pattern=r"^[A-Za-z0-9._-]+$", description="Name of the training set."
    )
    resolutions: tuple[int, ...] = Field(
        (256, 512, 1024),
        min_length=1,
        description="Sides in pixels. A picture is in each resolution that it is large enough "
        "for, and in the smallest one always.",
    )
    aspects: tuple[str, ...] = Field(
        tuple(SIZES_1024), min_length=1, description="Aspect buckets, for example 1x1, 16x9."
    )
    multiple: int = Field(
        16, ge=1, description="Sides of buckets are multiples of this: VAE factor times patch size."
    )
    samples_per_tar: int = Field(10_000, ge=1, description="Most samples in a training shard.")
    bytes_per_tar: int = Field(
        500_000_000, ge=1, description="Most image bytes in a training shard."
    )
    captions: tuple[str, ...] = Field(
        ("source", "short", "long"),
        description="Captions of a sample, lowest to highest quality: "
        "'source' (the upstream one), a variant, an import, or an older table as VARIANT@HASH "
        "(`nucleus captions list`).",
    )
    seed: int = Field(0, description="Seed of the order.")
    # Added when there were sets without: see `config.ADDED`.
    caps: StrictInt | dict[str, StrictInt] | None = Field(
        None,
        description="Most records of a curriculum bucket, the first by a keyed hash: a number for "
        "all of them, or {B1: number, ...}; null for no caps.",
        json_schema_extra=ADDED,
    )

    @field_validator("caps")
    @classmethod
    def _of_buckets(cls, caps: int | dict[str, int] | None) -> int | dict[str, int] | None:
        given = caps if isinstance(caps, dict) else dict.fromkeys(NAMES, caps or 0)
        if unknown := [name for name in given if name not in NAMES]:
            raise ValueError(f"has {unknown[0]!r}; allowed: {', '.join(NAMES)}")
        if negative := [count for count in given.values() if count < 0]:
            raise ValueError(f"has {negative[0]}; allowed: 0 or more")
        return caps

    @field_validator("aspects")
    @classmethod
    def _known(cls, aspects: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [a for a in aspects if a not in SIZES_1024]
        if unknown:
            raise ValueError(f"has {unknown[0]!r}; allowed: {', '.join(SIZES_1024)}")
        return aspects

    @field_validator("resolutions")
    @classmethod
    def _positive(cls, resolutions: tuple[int, ...]) -> tuple[int, ...]:
        if min(resolutions) < 1:
            raise ValueError(f"has {min(resolutions)}; allowed: sides of 1 pixel or more")
        return resolutions

    @field_validator("aspects", "resolutions", "captions")
    @classmethod
    def _once(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(items)) != len(items):
            raise ValueError("has one entry twice; allowed: each once")
        return items

    def cap_of(self) -> dict[str, int]:
        """Curriculum bucket -> the most records of it; those without a cap are not there."""
        if isinstance(self.caps, int):
            return dict.fromkeys(NAMES, self.caps)
        return self.caps or {}
