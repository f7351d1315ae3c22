"""Settings of `compare`."""

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.pixels import Limits

_DEFAULTS = Limits()


class CompareSettings(BaseModel):
    """Settings of `compare`: how many copies are compared, and how large they may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(
        8,
        ge=0,
        le=64,
        description="Copies of one picture that are decoded and compared, the best by their "
        "signals; the others come after them. 0 leaves the stage out.",
    )
    max_pixels: int = Field(
        _DEFAULTS.max_pixels,
        ge=1,
        le=178_956_970,
        description="Pictures of more pixels (width times height) are not decoded.",
    )
