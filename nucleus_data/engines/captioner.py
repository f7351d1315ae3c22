"""Defines the interface of captioning engines, whose requests are asynchronous.

engine = load_engine(EngineSettings())
asks = [Ask("a/short", "Describe this image.", Sampling(max_tokens=64))]
engine.submit(engine.prepare(pixels, asks))
while engine.pending():
    for made in engine.step():
        print(made.key, made.text)

A picture is prepared once for all of its questions, in any thread. One thread owns the engine; only
it submits requests and collects answers. A request that fails or is rejected does not affect the
others.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from nucleus_data.config import ADDED, KEEPS_VALUES
from nucleus_data.engines.servers import ServerSettings

Pixels = NDArray[np.uint8]
# Maximum ratio of a picture's long side to its short side that Qwen-VL's processors accept.
MAX_ASPECT = 200


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of one caption.

    Attributes:
        max_tokens: Maximum length of the caption in tokens.
        temperature: Sampling temperature; 0 is greedy decoding.
        top_p: Cumulative probability of the tokens that are sampled from (nucleus sampling).
        presence_penalty: Subtracted from the logit of every token that occurs in the caption so
            far.
        repetition_penalty: Divides a positive logit, and multiplies a negative one, of every token
            that occurs in the prompt or in the caption so far; 1 for no penalty.
        min_tokens: Minimum length of the caption in tokens.
        stop: Texts that end the caption, and are not part of it.
        seed: Seed of this request. The same request gives the same caption, whatever other requests
            it is batched with.
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
    """One question, usually about a picture.

    Attributes:
        key: Identifies the answer.
        question: The user's text; special tokens in it are treated as plain text.
        sampling: Sampling parameters of the answer.
        system: System prompt; None for the default of the model's chat template.
        schema: JSON schema that the answer must follow, as JSON; None for free text. White space in
            the answer is bounded.
        sees_picture: Whether the question contains the picture.
        fresh: Whether the answer is computed without reading prompt or picture caches, and without
            leaving entries in them that other answers would use.
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
    """The answer to one request, or its failure.

    Attributes:
        key: The request's `Ask.key`.
        text: The caption, without special tokens and surrounding white space.
        finish_reason: `stop` (the model ended the caption) or `length` (it was cut at
            `max_tokens`).
        tokens: Number of the caption's tokens, including its end token.
        prompt_tokens: Number of tokens of picture and question.
        at_stop: Whether a stop text ended the caption, or may have, since not every server reports
            it.
        error: Error message; empty if there is a caption.
        reason: Code of the error: `caption_refused` (the engine rejects such requests), `too_long`
            (the request does not fit `max_model_len`), `engine_raised` or `engine_lost`.
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
    """A picture and its questions, preprocessed for the engine.

    Attributes:
        keys: Keys of the requests that the engine will answer after `submit`.
        failed: Requests that already failed; `step` does not return them.
        work: Preprocessed inputs in the engine's own format.
    """

    keys: tuple[str, ...]
    failed: Sequence[Generated] = ()
    work: Any = None


class Engine(Protocol):
    """A captioning engine with a loaded model.

    `submit`, `step` and `pending` must all be called in one thread, which need not be the main
    thread. The other methods may be called in any thread.

    Attributes:
        name: `vllm`, `transformers` or `server`.
        version: Version of that package.
        on_cpu: Whether the model shares the CPUs with the threads that prepare pictures.
        patience_s: How long `step` may wait for answers that are made elsewhere (by a server), in
            seconds; callers set it. None if `step` itself makes the answers.
    """

    name: str
    version: str
    on_cpu: bool
    patience_s: float | None

    def prepare(self, picture: Pixels | None, asks: Sequence[Ask]) -> Prepared:
        """Preprocesses a picture and its questions, in any thread.

        Never raises because of a request: those that can't be served are in `failed`.

        Args:
            picture: uint8[H, W, 3], RGB; None if no question contains it.
            asks: The questions; their keys must differ from those of pending requests.
        """

    def submit(self, prepared: Prepared) -> None:
        """Takes a prepared picture. All questions about it share one pass of the vision encoder.

        A request that can't be taken fails in `step`, alone.
        """

    def step(self) -> list[Generated]:
        """Works for a short time; returns the answers that were finished, perhaps none."""

    def pending(self) -> int:
        """Returns the number of submitted requests that `step` has not returned yet."""

    def count_tokens(self, text: str) -> int:
        """Returns the number of tokens of a user's text; ValueError if it can't be encoded."""

    def counts(self) -> Mapping[str, int]:
        """Returns the counts since the last call.

        Returns:
            `pictures` (those that the vision tower encoded), `prompt_tokens`, `cached_tokens` (the
            part of these that came from a cache) and `tokens` (those of captions). They depend on
            how requests were batched, so they are recorded with a run and in no table.
        """


class Counts:
    """Thread-safe counters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Counter[str] = Counter()

    def add(self, **found: int) -> None:
        """Adds to the counters of these names."""
        with self._lock:
            self._found.update(found)

    def take(self) -> Mapping[str, int]:
        """Returns the counters and resets them."""
        with self._lock:
            found, self._found = self._found, Counter()
        return dict(found)


# Arguments of vLLM that must be given by the setting of that name, which the config hash, the
# captions' provenance and the check of lengths use.
SETTINGS_ONLY = ("model", "revision", "dtype", "max_model_len")


class EngineSettings(BaseModel):
    """Settings of a model and of the engine that runs it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(
        default="nano",
        description="Model: nano (built in, for synthetic scenes), a folder, or the hub name of a"
        " vision model that the engine supports.",
    )
    revision: str | None = Field(
        default=None,
        description="Commit or tag of a hub model, for which it is required; for nano and"
        " folders, the hash of the content is used.",
    )
    engine: Literal["auto", "vllm", "transformers", "server"] = Field(
        default="auto",
        json_schema_extra=KEEPS_VALUES,
        description="Engine that runs the model; auto: vLLM if installed, otherwise transformers;"
        " server: the servers in caption.servers. Not in the config hash.",
    )
    servers: ServerSettings = Field(
        default_factory=ServerSettings,
        json_schema_extra=KEEPS_VALUES,
        description="Servers for caption.engine=server. Not in the config hash.",
    )
    jpeg_quality: int | None = Field(
        default=None,
        ge=50,
        le=100,
        json_schema_extra=ADDED,
        description="Quality of the JPEGs sent to a server; null: PNGs, which are lossless.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Data type of the computation; auto: float32 on a CPU, the model's own on a"
        " GPU.",
    )
    max_side: int = Field(
        default=1024,
        ge=32,
        le=4096,
        description="Maximum of the longer side, in pixels, of the picture that the model is"
        " given.",
    )
    max_pixels: int | None = Field(
        default=None,
        ge=1024,
        json_schema_extra=ADDED,
        description="Maximum pixels (width times height) of the picture that the model is given,"
        " in addition to `max_side`; null: no limit. For a model's token budget: 1003520 is 1280"
        " of Qwen2.5-VL's visual tokens.",
    )
    system: str | None = Field(
        default=None,
        json_schema_extra=ADDED,
        description="System prompt; null: the default of the model's chat template.",
    )
    template_args: dict[str, Any] = Field(
        default_factory=dict,
        json_schema_extra=ADDED,
        description="Arguments for the model's chat template, for example {enable_thinking:"
        " false}.",
    )
    max_model_len: int = Field(
        default=4096,
        ge=256,
        json_schema_extra=KEEPS_VALUES,
        description="Maximum number of tokens of picture, prompt and caption together; what needs"
        " more fails as `too_long`, for `nucleus retry`. Not in the config hash.",
    )
    max_in_flight: int = Field(
        default=64,
        ge=1,
        le=4096,
        json_schema_extra=KEEPS_VALUES,
        description="Maximum number of concurrent requests in the engine. Not in the config hash.",
    )
    gpu_memory_utilization: float = Field(
        default=0.9,
        gt=0,
        le=1,
        json_schema_extra=KEEPS_VALUES,
        description="Share of a GPU's memory that vLLM may use. Not in the config hash.",
    )
    vllm_args: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments for vllm.EngineArgs, for example quantization. Those that"
        " may change a caption, or are unknown, are in the config hash (`engines.vllm_arguments`)."
        " Not allowed: model, revision, dtype, max_model_len, which are settings.",
    )

    @field_validator("vllm_args")
    @classmethod
    def _is_not_a_setting(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in SETTINGS_ONLY:
            if name in given:
                raise ValueError(
                    f"{name} is a setting of its own, beside vllm_args; write {name}:"
                    f" {given[name]} there, and remove it here"
                )
        return given
