"""Settings of `dedup`."""

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.dedup.codes import MAX_DISTANCE


class DedupSettings(BaseModel):
    """Which pairs of images are near duplicates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
