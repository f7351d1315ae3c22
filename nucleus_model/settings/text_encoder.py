"""Settings of the text encoder: the model and its hidden state. They need no torch."""

from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.engines.find import NANO


class TextSettings(BaseModel):
    """Settings of the text encoder. The published model uses Qwen3-VL-8B, -8 and 1024 tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        default=NANO,
        description="Text encoder: nano (the tiny captioner included in the package, which only "
        "knows the synthetic world's words), the folder of a Qwen3-VL or of a sentence encoder "
        "such as all-MiniLM (bert, roberta, xlm-roberta) in transformers' format, or a hub name.",
    )
    revision: str | None = Field(
        default=None, description="Commit or tag of a hub model; required for one."
    )
    hidden_state: int = Field(
        default=0,
        description="Index of the hidden state to use; -1 is the last one, after the final norm. "
        "0, the token embedding, suits the nano model, whose deeper states hardly distinguish "
        "colour words. The published model uses -8; use -1 for a sentence encoder.",
    )
    max_tokens: int = Field(
        default=256,
        ge=16,
        le=4096,
        description="Maximum length of a prompt in tokens, including the template. Longer prompts "
        "are truncated, and counted as `captions_cut`.",
    )
    system_prompt: str = Field(
        default="Draw.",
        description="Fixed system prompt for a Qwen3-VL. A short one is faster, because all image "
        "tokens attend to it.",
    )
    cache_bytes: int = Field(
        default=256 << 20,
        ge=0,
        description="Memory for cached text states of earlier prompts, in bytes.",
    )
