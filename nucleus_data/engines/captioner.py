"""What an engine is: pictures with questions go in at any time, captions come out when done.

engine = load_engine(EngineSettings())
asks = [Ask("a/short", "Describe this image.", Sampling(max_tokens=64))]
engine.submit(engine.prepare(pixels, asks))
while engine.pending():
    for made in engine.step():
        print(made.key, made.text)

A picture is prepared once for all that is asked about it, in any thread; the thread that owns the
engine submits and steps. What one request is refused for costs that request alone.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nucleus_data.config import ADDED, KEEPS_VALUES
from nucleus_data.engines.servers import ServerSettings

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
        repetition_penalty: Divides a positive logit, and multiplies a negative one, of every token
            that the prompt or the caption already has; 1 is none.
        min_tokens: The caption does not end before it has as many tokens.
        stop: Texts that end the caption; they are no part of it.
        seed: Of this request alone; the same request gives the same caption in any company.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Ask:
    """One question, mostly about a picture.

    Attributes:
        key: What the answer is known by.
        question: The user's text, in which no special token is obeyed.
        sampling: How the answer is drawn.
        system: The system prompt; None for what the model's own template has.
        schema: JSON schema, as JSON, that the answer follows; its white space is bounded.
        sees_picture: Whether the picture is part of the question.
        fresh: Whether the answer is made without any cache of prompts or pictures, and leaves
            nothing there that another answer is made of.
    """

    key: str
    question: str
    sampling: Sampling
    system: str | None = None
    schema: str | None = None
    sees_picture: bool = True
    fresh: bool = False


@dataclass(frozen=True)
class Generated:
    """One finished request.

    Attributes:
        key: As asked.
        text: The caption, without special tokens; surrounding white space removed.
        finish_reason: `stop` (the model ended it) or `length` (it was cut at `max_tokens`).
        tokens: Tokens of the caption, the end included.
        prompt_tokens: Tokens of picture and question.
        at_stop: Whether a stop text ended it, or may have: not every server tells.
        error: Why there is no caption; empty when there is one.
        reason: Code of the error: `caption_refused` (the request can't be served), `too_long` (it
            does not fit `max_model_len`), `engine_raised` or `engine_lost`.
    """

    key: str
    text: str = ""
    finish_reason: str = ""
    tokens: int = 0
    prompt_tokens: int = 0
    at_stop: bool = False
    error: str = ""
    reason: str = "caption_refused"


@dataclass(frozen=True)
class Prepared:
    """One picture and what is asked about it, ready for the engine.

    Attributes:
        keys: Of the asks that the engine will answer once this is submitted.
        failed: Those that ended already; nobody else gives them back.
        work: The engine's own.
    """

    keys: tuple[str, ...]
    failed: Sequence[Generated] = ()
    work: Any = None


class Engine(Protocol):
    """A loaded model.

    `submit`, `step` and `pending` belong to one thread, which need not be the main one; the others
    may be called in any.

    Attributes:
        name: `vllm`, `transformers` or `server`.
        version: Of that package.
        on_cpu: Whether the model runs on the CPUs that prepare pictures, too.
    """

    name: str
    version: str
    on_cpu: bool

    def prepare(self, picture: Pixels | None, asks: Sequence[Ask]) -> Prepared:
        """Makes what the model reads of a picture, once for all asks; in any thread.

        Raises for no ask: one that can't be served is in `failed`.

        Args:
            picture: (H, W, 3) RGB; None if no ask sees it.
            asks: With keys that no running request has.
        """

    def submit(self, prepared: Prepared) -> None:
        """Takes a prepared picture; all that is asked about it shares one vision encode.

        A request that can't be taken fails in `step`, alone.
        """

    def step(self) -> list[Generated]:
        """Works for a moment and gives back what got done, perhaps nothing."""

    def pending(self) -> int:
        """Requests submitted and not yet given back."""

    def count_tokens(self, text: str) -> int:
        """How many tokens a user's text has. Raises ValueError if it can't be encoded."""

    def counts(self) -> Mapping[str, int]:
        """What was done since this was asked last.

        Returns:
            `pictures` (that went through the vision tower), `prompt_tokens`, `cached_tokens` (of
            these, those that were not computed again) and `tokens` (of captions). They depend on
            what shared a batch, so they belong to a run and to no table.
        """


class Counts:
    """Numbers that one thread adds and another takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Counter[str] = Counter()

    def add(self, **found: int) -> None:
        """Adds to the numbers of these names."""
        with self._lock:
            self._found.update(found)

    def take(self) -> Mapping[str, int]:
        """The sums since they were taken last."""
        with self._lock:
            found, self._found = self._found, Counter()
        return dict(found)


class EngineSettings(BaseModel):
    """Which model, and how it is run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(
        default="nano",
        description="nano (packaged, for synthetic scenes), a folder, or the hub name of a vision"
        " model that the engine serves.",
    )
    revision: str | None = Field(
        default=None,
        description="Commit or tag; required for a hub name, the content's hash for the others.",
    )
    engine: Literal["auto", "vllm", "transformers", "server"] = Field(
        default="auto",
        json_schema_extra=KEEPS_VALUES,
        description="What runs the model; auto is vLLM where installed; server asks those of"
        " caption.servers. Not in the config hash.",
    )
    servers: ServerSettings = Field(
        default_factory=ServerSettings,
        json_schema_extra=KEEPS_VALUES,
        description="Servers of caption.engine=server. Not in the config hash.",
    )
    jpeg_quality: int | None = Field(
        default=None,
        ge=50,
        le=100,
        json_schema_extra=ADDED,
        description="Quality of the JPEG that a server is sent; null sends PNG, without loss.",
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
    max_pixels: int | None = Field(
        default=None,
        ge=1024,
        json_schema_extra=ADDED,
        description="Pixels of the picture that the model is given, width by height; beside"
        " max_side. A budget a model: 1003520 is 1280 of Qwen2.5-VL's visual tokens.",
    )
    system: str | None = Field(
        default=None,
        json_schema_extra=ADDED,
        description="System prompt; null for what the model's chat template has by itself.",
    )
    template_args: dict[str, Any] = Field(
        default_factory=dict,
        json_schema_extra=ADDED,
        description="Arguments of the model's chat template, for example {enable_thinking: false}.",
    )
    max_model_len: int = Field(
        default=4096,
        ge=256,
        json_schema_extra=KEEPS_VALUES,
        description="Tokens of picture, prompt and caption together that there is room for; what"
        " needs more fails as `too_long`, for `nucleus retry`. Not in the config hash.",
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
        description="Further arguments of vllm.EngineArgs (quantization). Those that may change a"
        " caption, or are not known, are in the config hash (`engines.vllm_arguments`).",
    )
