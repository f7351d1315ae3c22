"""Settings of `dedup`."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nucleus_data.config import KEEPS_VALUES
from nucleus_data.stages.dedup.codes import MAX_DISTANCE
from nucleus_data.stages.dedup.rows import MAX_CORPUS


class DedupSettings(BaseModel):
    """Which pairs of images are near duplicates."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    distance: int = Field(
        default=4,
        ge=0,
        le=MAX_DISTANCE,
        description="Largest Hamming distance of two 64-bit pHashes.",
    )
    hash256_distance: int = Field(
        default=40, ge=0, le=256, description="Largest Hamming distance of two 256-bit hashes."
    )
    aspect_tolerance: float = Field(
        default=0.03,
        ge=0,
        le=1,
        description="Largest difference of two aspect ratios, as a share of the smaller.",
    )
    hashes: Literal["upright", "canonical"] = Field(
        default="upright",
        description="Of the signal group `hash`; or, to find mirrored, turned and framed copies "
        "too, of `canonical` (add it to inspect.signals).",
    )
    against: dict[str, str] = Field(
        default={},
        description="Other corpora by a name of yours, for example an earlier release or an "
        "evaluation set: what they have is a duplicate here, whatever its quality.",
    )
    partition_records: int = Field(
        default=2_000_000,
        ge=1,
        json_schema_extra=KEEPS_VALUES,
        description="No more records are searched, and by `compare` and `select` no more pairs "
        "read, in one process's memory (1.2 GB for the default); of more, files of about as many "
        "are made for all workers.",
    )

    @field_validator("against")
    @classmethod
    def _names(cls, against: dict[str, str]) -> dict[str, str]:
        for name in against:
            if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,62}", name):
                raise ValueError(f"a name has 1 to 63 of a-z, 0-9, '_', '.' and '-', got {name!r}")
        if len(against) > MAX_CORPUS:
            raise ValueError(f"at most {MAX_CORPUS} other corpora, got {len(against)}")
        return against
