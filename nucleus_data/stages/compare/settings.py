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
        description="Maximum number of copies of one picture that are decoded and compared, the "
        "best by their signals; the others rank after them. 0 turns the stage off.",
    )
    max_pixels: int = Field(
        _DEFAULTS.max_pixels,
        ge=1,
        le=178_956_970,
        description="Maximum pixels of a picture (width times height); larger ones are not "
        "decoded.",
    )
