"""Settings of the text encoder: the model and its hidden state. They need no torch."""

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.engines.find import NANO


class TextSettings(BaseModel):
    """Settings of the text encoder. The published model has Qwen3-VL-8B, -8 and 1024 tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        default=NANO,
        description="nano (the tiny captioner that comes with the package, which knows the "
        "synthetic world's words), a folder of a Qwen3-VL or of a sentence encoder such as "
        "all-MiniLM (bert, roberta, xlm-roberta) in transformers' format, or a hub name.",
    )
    revision: str | None = Field(
        default=None, description="Commit or tag of a hub model; required for one."
    )
    hidden_state: int = Field(
        default=0,
        description="Which hidden state; -1 is the last one, after the final norm. 0, the token "
        "embedding, is for the nano model, whose deeper states hardly tell one colour word from "
        "another; published is -8; for a sentence encoder give -1.",
    )
    max_tokens: int = Field(
        default=256,
        ge=16,
        le=4096,
        description="Longer prompts are cut (and counted), template included.",
    )
    system_prompt: str = Field(
        default="Draw.",
        description="Fixed system prompt of a Qwen3-VL; a short one is faster, as all image tokens "
        "see it.",
    )
    cache_bytes: int = Field(
        default=256 << 20,
        ge=0,
        description="Memory for the states of prompts seen before, in bytes.",
    )
