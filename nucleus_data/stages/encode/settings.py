"""Settings of the stage `encode`. The encoders are those of `quick_train`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EncodeSettings(BaseModel):
    """Settings of the stage `encode`, which encodes a set ahead of the training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=False,
        description="Whether to encode anything ahead of the training. false: the stage does "
        "nothing.",
    )
    latents: bool = Field(
        default=True,
        description="Encode the pictures of the resolutions that `quick_train` uses, with its "
        "codec.",
    )
    texts: bool = Field(
        default=True,
        description="Encode every text of the caption edition, and the empty text, with the text "
        "encoder of `quick_train.text`.",
    )
    dtype: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32",
        description="Precision of the stored values; the training only uses them if "
        "`quick_train.encoded` is the same. fp32 changes no value; bf16 rounds each value by up to "
        "0.4 %, fp16 by up to 0.05 %.",
    )
