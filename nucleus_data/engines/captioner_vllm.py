"""vLLM inside this process: no server, no child process that could outlive us.

`LLMEngine.add_request` and `step` are used as in vLLM's own streaming example; requests of every
shard and prompt are batched together as they come, and the variants of one picture share one pass
of the vision tower. Environment variables are read by vLLM at import, so they are set here first;
what the user has set already stays.
"""

import functools
import logging
import os
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from nucleus_data.engines.captioner import (
    Ask,
    Counts,
    EngineSettings,
    Generated,
    Pixels,
    Prepared,
    Sampling,
    check_length,
    ended,
)
from nucleus_data.engines.chat import Chat
from nucleus_data.engines.find import ModelReference

if TYPE_CHECKING:
    from vllm import LLMEngine

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives and dies with its actor
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GB; read on CPUs only
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # OMP_NUM_THREADS decides, not a core
    "TOKENIZERS_PARALLELISM": "false",
}


class VllmEngine:
    """An `Engine` (`captioner`) on `vllm.LLMEngine`.

    Args:
        model: The model to load.
        settings: Memory, precision, and limits of requests.
    """

    name = "vllm"

    def __init__(self, model: ModelReference, settings: EngineSettings) -> None:
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        # A folder needs no hub, and a worker may have no network. Once the hub's package is
        # imported, the variable is no longer read.
        if model.local and "huggingface_hub" not in sys.modules:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch  # noqa: F401 - its logger is set up here, and silenced before vLLM is imported

        logging.getLogger("torch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")
        import vllm
        from vllm.exceptions import VLLMClientError
        from vllm.platforms import current_platform
        from vllm.sampling_params import RequestOutputKind

        on_cpu = current_platform.is_cpu()
        image = {"count": 1, "width": settings.max_side, "height": settings.max_side}
        arguments: dict[str, Any] = {
            "model": model.location,
            "revision": None if model.local else model.revision,
            "tokenizer_revision": None if model.local else model.revision,
            "dtype": "float32" if on_cpu and settings.dtype == "auto" else settings.dtype,
            "max_model_len": settings.max_model_len,
            "max_num_seqs": settings.max_in_flight,
            "limit_mm_per_prompt": {"image": image, "video": 0},
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "trust_remote_code": False,
            "use_tqdm_on_load": False,
        }
        if on_cpu:
            # Nothing to compile or to measure on a CPU: the cache's size is given.
            arguments |= {"enforce_eager": True, "skip_mm_profiling": True}
        self.version: str = vllm.__version__
        self._engine: LLMEngine = vllm.LLMEngine.from_engine_args(
            vllm.EngineArgs(**(arguments | settings.vllm_args))
        )
        self._sampling = functools.partial(
            vllm.SamplingParams, output_kind=RequestOutputKind.FINAL_ONLY
        )
        self._refusals = (ValueError, VLLMClientError)
        self._max_model_len = settings.max_model_len
        self._running: set[str] = set()
        self._refused: list[Generated] = []
        self._lock = threading.Lock()
        self._counts = Counts()
        tokenizer = self._engine.get_tokenizer()
        self._chat = Chat(tokenizer, tokenizer)

    def prepare(self, picture: Pixels | None, asks: Sequence[Ask]) -> Prepared:
        """Renders a picture's requests; in any thread."""
        requests, failed = [], []
        image = None if picture is None else Image.fromarray(picture)
        for ask in asks:
            try:
                requests.append((ask.key, self._rendered(image, ask), self._drawn(ask.sampling)))
            except Exception as error:
                failed.append(ended(ask.key, error, self._refusals))
        return Prepared(tuple(key for key, *_ in requests), failed, requests)

    def _rendered(self, image: Image.Image | None, ask: Ask) -> Any:
        """Tokens and patches of one request."""
        # As tokens: of a text, vLLM would obey the special tokens that a user wrote.
        tokens = self._chat.tokens(ask.question)
        check_length(len(tokens), ask.sampling.max_tokens, self._max_model_len)
        request: Any = {"prompt_token_ids": tokens}
        if ask.sees_picture:
            request["multi_modal_data"] = {"image": image}
        if ask.fresh:  # other names than those that caches know prompts and pictures by
            request["cache_salt"] = ask.key
            if ask.sees_picture:
                request["multi_modal_uuids"] = {"image": [ask.key]}
        # Rendered here and not by `add_request`, to know how many tokens the picture takes.
        with self._lock:
            (rendered,) = self._engine.renderer.render_cmpl([request])
        length = len(rendered["prompt_token_ids"])
        check_length(length, ask.sampling.max_tokens, self._max_model_len)
        return rendered

    def _drawn(self, sampling: Sampling) -> Any:
        """VLLM's parameters of one request."""
        return self._sampling(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            presence_penalty=sampling.presence_penalty,
            repetition_penalty=sampling.repetition_penalty,
            min_tokens=sampling.min_tokens,
            stop=list(sampling.stop),
            seed=sampling.seed,
        )

    def submit(self, prepared: Prepared) -> None:
        """Takes a prepared picture; a request that vLLM does not take fails in the next `step`."""
        for key, rendered, parameters in prepared.work:
            try:
                self._engine.add_request(key, rendered, parameters)
            except Exception as error:
                self._refused.append(ended(key, error, self._refusals))
            else:
                self._running.add(key)

    def step(self) -> list[Generated]:
        """One forward pass over everything that is running; gives back what ended in it."""
        done, self._refused = self._refused, []
        if not self._running:
            return done
        outputs: list[Any] = self._engine.step()
        for output in outputs:
            if output.request_id not in self._running:
                continue  # it came before
            said = output.outputs[0]
            self._running.remove(output.request_id)
            self._counts.add(
                tokens=len(said.token_ids), prompt_tokens=len(output.prompt_token_ids or ())
            )
            if said.finish_reason in ("stop", "length"):
                done.append(
                    Generated(
                        output.request_id,
                        said.text.strip(),
                        said.finish_reason,
                        len(said.token_ids),
                        len(output.prompt_token_ids or ()),
                    )
                )
            else:
                error = f"ended with {said.finish_reason!r}"
                done.append(Generated(output.request_id, error=error))
        return done

    def pending(self) -> int:
        """Requests submitted and not yet given back."""
        return len(self._running) + len(self._refused)

    def count_tokens(self, text: str) -> int:
        """How many tokens a user's text has. Raises ValueError if it can't be encoded."""
        return len(self._chat.plain(text))

    def counts(self) -> Mapping[str, int]:
        """What was done since this was asked last."""
        return self._counts.take()
