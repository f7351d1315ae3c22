"""Settings of `shard`: resolutions, aspect buckets, captions, sizes of tars."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nucleus_data.sets.buckets import SIZES_1024


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
        "'source' (the upstream one) or a variant.",
    )
    seed: int = Field(0, description="Seed of the order.")

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

    def caption_tables(self) -> Sequence[str]:
        """The caption tables that a training set reads."""
        return [f"caption.{name}" for name in self.captions if name != "source"]
