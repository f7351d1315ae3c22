"""Settings of `dedup`."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nucleus_data.config import KEEPS_VALUES
from nucleus_data.stages.dedup.codes import MAX_DISTANCE
from nucleus_data.stages.dedup.rows import MAX_CORPUS


class DedupSettings(BaseModel):
    """Settings of `dedup`: which pairs of images are near duplicates."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    distance: int = Field(
        default=4,
        ge=0,
        le=MAX_DISTANCE,
        description="Maximum Hamming distance between the 64-bit pHashes of two near duplicates.",
    )
    hash256_distance: int = Field(
        default=40,
        ge=0,
        le=256,
        description="Maximum Hamming distance between the 256-bit hashes of two near duplicates.",
    )
    aspect_tolerance: float = Field(
        default=0.03,
        ge=0,
        le=1,
        description="Maximum difference between the aspect ratios of two near duplicates, as a "
        "share of the smaller ratio.",
    )
    hashes: Literal["upright", "canonical"] = Field(
        default="upright",
        description="Hashes to compare: `upright`, those of the signal group `hash`; or "
        "`canonical`, those of the signal group `canonical` (add it to inspect.signals), which "
        "also find mirrored, turned and framed copies.",
    )
    against: dict[str, str] = Field(
        default={},
        description="Other corpora by a name of your choice, for example an earlier release or an "
        "evaluation set: pictures that they contain are duplicates here, whatever their quality.",
    )
    partition_records: int = Field(
        default=2_000_000,
        ge=1,
        json_schema_extra=KEEPS_VALUES,
        description="Maximum number of records searched in the memory of one process (1.2 GB for "
        "the default), and of pairs that `compare` and `select` read in one. A larger corpus is "
        "split into files of about this size, for all workers.",
    )

    @field_validator("against")
    @classmethod
    def _names(cls, against: dict[str, str]) -> dict[str, str]:
        for name in against:
            if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,62}", name):
                raise ValueError(
                    f"a name must be 1 to 63 characters (a-z, 0-9, '_', '.', '-'), got {name!r}"
                )
        if len(against) > MAX_CORPUS:
            raise ValueError(f"at most {MAX_CORPUS} other corpora, got {len(against)}")
        return against
