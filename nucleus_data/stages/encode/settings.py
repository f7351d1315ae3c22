"""Settings of the stage `encode`; which encoders, says `quick_train`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EncodeSettings(BaseModel):
    """The encode stage: what is encoded ahead of the training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="Whether there is anything to encode.")
    latents: bool = Field(
        default=True,
        description="Encode the pictures of the resolutions that quick_train takes, by its codec.",
    )
    texts: bool = Field(
        default=True,
        description="Encode every text of the caption edition, and the empty one, by "
        "quick_train.text.",
    )
    dtype: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32",
        description="Of the stored numbers; quick_train.encoded must be the same to take them. "
        "fp32 changes no value; bf16 rounds each by up to 0.4 %, fp16 by 0.05 %.",
    )
