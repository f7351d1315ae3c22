"""What an engine is: requests go in at any time, captions come out when they are done.

engine = load_engine(EngineSettings())
engine.submit("a", pixels, "Describe this image.", Sampling(max_tokens=64))
while engine.pending():
    for made in engine.step():
        print(made.key, made.text)
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.config import KEEPS_VALUES

Pixels = NDArray[np.uint8]
# Qwen-VL's processors refuse more: long side over short side.
MAX_ASPECT = 200


@dataclass(frozen=True)
class Sampling:
    """How one caption is drawn.

    Attributes:
        max_tokens: Longest caption, in tokens.
        temperature: 0 is greedy.
        top_p: Share of probability that is kept.
        presence_penalty: Taken from the logit of every token that the caption already has.
        seed: Of this request alone; the same request gives the same caption in any company.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Generated:
    """One finished request.

    Attributes:
        key: As submitted.
        text: The caption, without special tokens; surrounding white space removed.
        finish_reason: `stop` (the model ended it) or `length` (it was cut at `max_tokens`).
        tokens: Tokens of the caption, the end included.
        error: Why there is no caption; empty when there is one.
        reason: Code of the error: `caption_refused` (the request does not fit) or `engine_raised`.
    """

    key: str
    text: str = ""
    finish_reason: str = ""
    tokens: int = 0
    error: str = ""
    reason: str = "caption_refused"


def raised(key: str, error: Exception) -> Generated:
    """A request that ends with an exception of the engine, which others need not share."""
    return Generated(key, error=f"{type(error).__name__}: {error}", reason="engine_raised")


class Engine(Protocol):
    """A loaded model. Used from one thread, which need not be the main one.

    Attributes:
        name: `vllm` or `transformers`.
        version: Of that package.
    """

    name: str
    version: str

    def submit(self, key: str, image: Pixels, prompt: str, sampling: Sampling) -> None:
        """Takes a request: (H, W, 3) RGB and the user's text, in which no special token is obeyed.

        A request that cannot be served fails in `step`, alone.
        """

    def step(self) -> list[Generated]:
        """Works for a moment and gives back what got done, perhaps nothing."""

    def pending(self) -> int:
        """Requests submitted and not yet given back."""

    def count_tokens(self, text: str) -> int:
        """How many tokens a user's text has. Raises ValueError if it can't be encoded."""


class EngineSettings(BaseModel):
    """Which model, and how it is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        default="nano",
        description="nano (packaged, for synthetic scenes), a folder, or a Qwen3-VL's hub name.",
    )
    revision: str | None = Field(
        default=None,
        description="Commit or tag; required for a hub name, the content's hash for the others.",
    )
    engine: Literal["auto", "vllm", "transformers"] = Field(
        default="auto",
        json_schema_extra=KEEPS_VALUES,
        description="What runs the model; auto is vLLM where installed. Not in the config hash.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Of the computation; auto is float32 on a CPU and the model's own on a GPU.",
    )
    max_side: int = Field(
        default=1024,
        ge=32,
        le=4096,
        description="Longer side, in pixels, of the picture that the model is given.",
    )
    max_model_len: int = Field(
        default=4096,
        ge=256,
        description="Tokens of picture, prompt and caption together that there is room for.",
    )
    max_in_flight: int = Field(
        default=64,
        ge=1,
        le=4096,
        json_schema_extra=KEEPS_VALUES,
        description="Requests that the engine holds at once. Not in the config hash.",
    )
    gpu_memory_utilization: float = Field(
        default=0.9,
        gt=0,
        le=1,
        json_schema_extra=KEEPS_VALUES,
        description="Share of a GPU's memory for vLLM. Not in the config hash.",
    )
    vllm_args: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments of vllm.EngineArgs (quantization). In the config hash.",
    )


def check_length(prompt_tokens: int, max_tokens: int, max_model_len: int) -> None:
    """Refuses a request that may not fit, so that no engine cuts a caption shorter than asked.

    Args:
        prompt_tokens: Tokens of the picture and the prompt.
        max_tokens: Longest caption, in tokens.
        max_model_len: Tokens that the engine has room for, of prompt and caption together.

    Raises:
        ValueError: It may not fit.
    """
    if prompt_tokens + max_tokens > max_model_len:
        raise ValueError(
            f"{prompt_tokens} tokens of picture and prompt and {max_tokens} of caption exceed"
            f" caption.max_model_len={max_model_len}; raise it, or lower max_side or max_tokens"
        )
