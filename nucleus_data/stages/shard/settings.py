"""Settings of `shard`: resolutions, aspect buckets, crops, formats, captions, caps, tars."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, field_validator

from nucleus_data.config import ADDED, spelled
from nucleus_data.sets.buckets import FORTY, NAMED, SIZES_1024
from nucleus_data.stages.select.draw import NAMES

SetName = Annotated[
    str,
    spelled(
        r"\.*[A-Za-z0-9_-][A-Za-z0-9._-]*",
        "letters, digits, '.', '_' and '-', not dots alone, such as train-v2",
    ),
]


class ShardSettings(BaseModel):
    """Settings of `shard`: how training shards are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: SetName = Field("train", description="Name of the training set.")
    resolutions: tuple[int, ...] = Field(
        (256, 512, 1024),
        min_length=1,
        description="Resolutions: sides of the square bucket, in pixels. A picture is in each "
        "resolution whose bucket its crop covers, as nothing is upscaled; for the others, "
        "left_out.parquet has the reason.",
    )
    aspects: Literal["seven", "forty"] | tuple[str, ...] = Field(
        "seven",
        description="Aspect buckets: seven (the sampler's sizes), forty (ratios from 0.25 to 4), "
        "or a list of their names, for example [1x1, 16x9].",
    )
    multiple: int = Field(
        16, ge=1, description="Sides of buckets are multiples of this: VAE factor times patch size."
    )
    crop: Literal["centre", "random"] = Field(
        "centre",
        description="Position of the crop: centre; or random, by a keyed hash of the id.",
    )
    crop_loss: float = Field(
        0.35,
        ge=0,
        lt=1,
        description="Maximum share of a picture's area that cropping may lose; pictures that would "
        "lose more are left out.",
    )
    format: Literal["jpeg", "webp", "original"] = Field(
        "jpeg",
        description="Format of the stored pictures, the same for the whole set. `original` is like "
        "jpeg, but a JPEG that is upright sRGB and not much larger than its bucket "
        "(original_scale) keeps its bytes.",
    )
    quality: int = Field(95, ge=1, le=100, description="Quality of JPEG and WebP, from 1 to 100.")
    original_scale: float = Field(
        1.5,
        ge=1,
        description="With format=original: maximum ratio of a crop's sides to its bucket's at "
        "which the original file is kept.",
    )
    samples_per_tar: int = Field(10_000, ge=1, description="Maximum samples per training shard.")
    bytes_per_tar: int = Field(
        500_000_000,
        ge=1,
        description="Approximate image bytes per training shard; all tars of a bucket but the last "
        "have the same number of samples.",
    )
    captions: tuple[str, ...] = Field(
        ("source", "short", "long"),
        description="Captions of a sample, from lowest to highest quality: 'source' (the upstream "
        "caption), a variant, an import, or an older table as VARIANT@HASH (`nucleus captions "
        "list`). They are stored as an edition beside the tars, so changing them makes another "
        "edition of the same set. If caption.preserve is set, 'source' is only used for records "
        "for which it is true.",
    )
    seed: int = Field(0, description="Seed of the order of samples.")
    # Added after sets had been made without it: see `config.ADDED`.
    caps: StrictInt | dict[str, StrictInt] | None = Field(
        None,
        description="Maximum number of records of a curriculum bucket, the first ones by a keyed "
        "hash: one number for all buckets, or {B1: number, ...}; null: no caps.",
        json_schema_extra=ADDED,
    )

    @field_validator("caps")
    @classmethod
    def _of_buckets(cls, caps: int | dict[str, int] | None) -> int | dict[str, int] | None:
        given = caps if isinstance(caps, dict) else dict.fromkeys(NAMES, caps or 0)
        if unknown := [name for name in given if name not in NAMES]:
            raise ValueError(f"unknown bucket {unknown[0]!r}; allowed: {', '.join(NAMES)}")
        if negative := [count for count in given.values() if count < 0]:
            raise ValueError(f"must be 0 or more, not {negative[0]}")
        return caps

    @field_validator("aspects")
    @classmethod
    def _known(cls, aspects: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(aspects, str):
            return aspects
        if not aspects:
            raise ValueError("is empty; allowed: seven, forty, or a list of at least one name")
        unknown = [a for a in aspects if a not in SIZES_1024 and a not in FORTY]
        if unknown:
            allowed = f"{', '.join(SIZES_1024)}; {', '.join(FORTY)}"
            raise ValueError(f"unknown bucket {unknown[0]!r}; allowed: {allowed}")
        return aspects

    @field_validator("resolutions")
    @classmethod
    def _positive(cls, resolutions: tuple[int, ...]) -> tuple[int, ...]:
        if min(resolutions) < 1:
            raise ValueError(f"must be sides of 1 pixel or more, not {min(resolutions)}")
        return resolutions

    @field_validator("aspects", "resolutions", "captions")
    @classmethod
    def _once(cls, items: Any) -> Any:
        if isinstance(items, tuple) and len(set(items)) != len(items):
            raise ValueError("contains an entry twice; list each once")
        return items

    def aspect_names(self) -> tuple[str, ...]:
        """Returns the names of the aspect buckets."""
        return NAMED[self.aspects] if isinstance(self.aspects, str) else self.aspects

    def cap_of(self) -> dict[str, int]:
        """Returns curriculum bucket -> maximum number of records, for buckets with a cap."""
        if isinstance(self.caps, int):
            return dict.fromkeys(NAMES, self.caps)
        return self.caps or {}
