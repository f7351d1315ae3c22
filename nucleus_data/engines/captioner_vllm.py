"""Captions with vLLM in this process, without a server or child process that could outlive it.

`LLMEngine.add_request` and `step` are used as in vLLM's own streaming example; requests of all
shards and prompts are batched together as they arrive. All questions about a picture are added
together and share one pass of the vision tower, whose result the engine caches until it needs the
memory. vLLM reads environment variables when it is imported, so this module sets them beforehand,
unless the user has set them.
"""

import functools
import logging
import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from PIL import Image

from nucleus_data.engines.captioner import Ask, Counts, EngineSettings, Generated, Pixels, Prepared
from nucleus_data.engines.chat import TEMPLATE_ARGS, Chats
from nucleus_data.engines.find import ModelReference
from nucleus_data.engines.grammar import bounded_grammar
from nucleus_data.engines.refusals import check_length, check_sees, check_shown, ended
from nucleus_data.engines.thinking import Answers
from nucleus_data.errors import RequestError

if TYPE_CHECKING:
    from vllm import LLMEngine

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives and dies with its actor
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",  # hides a warning about binding memory to a CPU's node
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GB; read on CPUs only
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # OMP_NUM_THREADS counts; nothing is bound to a core
    "TOKENIZERS_PARALLELISM": "false",
}
# Grammars from `bounded_grammar` already bound white space; this is for those that a user passes.
GRAMMARS = {"backend": "xgrammar", "disable_any_whitespace": True}


class VllmEngine:
    """A captioning engine (`captioner.Engine`) on `vllm.LLMEngine`.

    Args:
        model: The model to load.
        settings: Memory, precision, and limits of requests.
        pictures: Whether requests will contain pictures.

    Raises:
        RequestError: Requests will contain pictures, and the model is text-only.
    """

    name = "vllm"
    patience_s: float | None = None

    def __init__(
        self, model: ModelReference, settings: EngineSettings, *, pictures: bool = True
    ) -> None:
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        # A local model needs no hub, and a worker may have no network. The variable has no effect
        # once huggingface_hub is imported.
        if model.local and "huggingface_hub" not in sys.modules:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch  # noqa: F401 - its logger is set up here, and silenced before vLLM is imported

        logging.getLogger("torch").setLevel(logging.ERROR)
        # Hides messages from before vLLM configures its logger.
        logging.getLogger("vllm").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")
        import vllm
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import tokens_input
        from vllm.platforms import current_platform
        from vllm.renderers import ChatParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        from nucleus_data.engines.vllm_pictures import Pictures, count_encodes, name_of

        self.version: str = vllm.__version__
        self.on_cpu = current_platform.is_cpu()
        if self.on_cpu:
            from nucleus_data.engines.vllm_generators import use_restarting_generators

            use_restarting_generators()
        self._engine: LLMEngine = vllm.LLMEngine.from_engine_args(
            vllm.EngineArgs(**engine_arguments(model, settings, pictures=pictures))
        )
        self._structure = StructuredOutputsParams
        self._text_input, self._name_of = tokens_input, name_of
        self._refusals = (ValueError, VLLMClientError, RequestError)
        self._max_model_len = settings.max_model_len
        self._running: dict[str, bool] = {}  # key -> whether the answer begins inside thinking
        self._refused: list[Generated] = []
        self._counts = Counts()
        count_encodes(self._engine, self._counts)
        tokenizer = self._engine.get_tokenizer()
        self._answers = Answers.of(tokenizer)
        self._sampling = functools.partial(
            vllm.SamplingParams,
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_special_tokens=not self._answers.marked,
        )
        sees = bool(self._engine.model_config.is_multimodal_model)
        check_sees(model.name, sees=sees, pictures=pictures)
        self._pictures = Pictures(self._engine.model_config, tokenizer) if pictures else None
        template = ChatParams(
            chat_template_kwargs={
                "add_generation_prompt": True,
                "tokenize": False,
                **TEMPLATE_ARGS,
                **settings.template_args,
            }
        )

        def render(system: str | None, text: str, sees_picture: bool) -> str:
            content: list[Any] = [{"type": "text", "text": text}]
            if sees_picture:
                image = Image.new("RGB", (64, 64))
                content = [{"type": "image_pil", "image_pil": image}, *content]
            messages: list[Any] = [{"role": "user", "content": content}]
            if system is not None:
                messages = [{"role": "system", "content": system}, *messages]
            _, prompt = self._engine.renderer.render_messages(messages, template)
            return str(prompt["prompt"])

        self._chats = Chats(tokenizer, render, pictures=pictures)

    def prepare(self, picture: Pixels | None, asks: Sequence[Ask]) -> Prepared:
        """Makes the tokens of all questions, and the picture's patches once; in any thread."""
        requests: list[tuple[str, Any, Any, bool]] = []
        failed: list[Generated] = []
        image, name = None, ""
        if picture is not None:
            image, name = Image.fromarray(picture), self._name_of(picture)
        with self._pictures.processor() if self._pictures else nullcontext() as processor:
            for ask in asks:
                try:
                    check_shown(ask, picture)
                    chat = self._chats.of(ask.system, sees_picture=ask.sees_picture)
                    tokens = chat.tokens(ask.question)
                    most = ask.sampling.max_tokens
                    check_length(len(tokens), most, self._max_model_len)
                    rendered = self._text_input(tokens)
                    if ask.sees_picture:
                        assert processor is not None, "the chat was refused before"
                        known_as = ask.key if ask.fresh else name
                        rendered = processor.rendered(image, known_as, tokens, len(chat.before))
                        check_length(len(rendered["prompt_token_ids"]), most, self._max_model_len)
                    if ask.fresh:
                        rendered["cache_salt"] = ask.key
                    requests.append((ask.key, rendered, self._drawn(ask), chat.thinks))
                except Exception as error:
                    failed.append(ended(ask.key, error, self._refusals))
        return Prepared(tuple(key for key, *_ in requests), failed, requests)

    def _drawn(self, ask: Ask) -> Any:
        """Returns vLLM's sampling parameters of a request."""
        sampling = ask.sampling
        return self._sampling(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            presence_penalty=sampling.presence_penalty,
            repetition_penalty=sampling.repetition_penalty,
            min_tokens=sampling.min_tokens,
            stop=list(sampling.stop),
            seed=sampling.seed,
            structured_outputs=self._structure(grammar=bounded_grammar(ask.schema))
            if ask.schema
            else None,
        )

    def submit(self, prepared: Prepared) -> None:
        """Takes a prepared picture; a request that vLLM rejects fails in the next `step`."""
        for key, rendered, parameters, thinks in prepared.work:
            try:
                self._engine.add_request(key, rendered, parameters)
            except Exception as error:
                self._refused.append(ended(key, error, self._refusals))
            else:
                self._running[key] = thinks

    def step(self) -> list[Generated]:
        """Runs one forward pass over all running requests; returns those that finished."""
        done, self._refused = self._refused, []
        if not self._running:
            return done
        outputs: list[Any] = self._engine.step()
        for output in outputs:
            if output.request_id not in self._running:
                continue  # it was returned before
            thinks = self._running.pop(output.request_id)
            completion = output.outputs[0]
            prompt, tokens = len(output.prompt_token_ids or ()), len(completion.token_ids)
            self._counts.add(
                tokens=tokens, prompt_tokens=prompt, cached_tokens=output.num_cached_tokens or 0
            )
            reason = completion.finish_reason
            if reason in ("stop", "length"):
                text = self._answers.text(completion.text, opened=thinks)
                at_stop = isinstance(completion.stop_reason, str)  # an end token is a number
                made = Generated(output.request_id, text, reason, tokens, prompt, at_stop)
            else:
                made = Generated(output.request_id, error=f"ended with {reason!r}")
            done.append(made)
        return done

    def pending(self) -> int:
        """Returns the number of submitted requests that `step` has not returned yet."""
        return len(self._running) + len(self._refused)

    def count_tokens(self, text: str) -> int:
        """Returns the number of tokens of a user's text; ValueError if it can't be encoded."""
        return len(self._chats.usual.plain(text))

    def counts(self) -> Mapping[str, int]:
        """Returns the counts since the last call."""
        return self._counts.take()


def engine_arguments(
    model: ModelReference, settings: EngineSettings, *, pictures: bool = True
) -> dict[str, Any]:
    """Returns the arguments of `vllm.EngineArgs`; the user's `vllm_args` take precedence.

    Args:
        model: The model to load.
        settings: Memory, precision, and limits of requests.
        pictures: Whether requests will contain pictures.
    """
    from vllm.platforms import current_platform

    on_cpu = current_platform.is_cpu()
    side = settings.max_side
    if settings.max_pixels is not None:
        side = min(side, math.isqrt(settings.max_pixels))
    image = {"count": int(pictures), "width": side, "height": side}
    revision = None if model.local else model.revision
    arguments: dict[str, Any] = {
        "model": model.location,
        "revision": revision,
        "tokenizer_revision": revision,
        "dtype": "float32" if on_cpu and settings.dtype == "auto" else settings.dtype,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_in_flight,
        "limit_mm_per_prompt": {"image": image, "video": 0},
        "mm_processor_cache_gb": 0,  # each picture is processed once, before it is submitted
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "trust_remote_code": False,
        "use_tqdm_on_load": False,
        "disable_log_stats": True,
    }
    if on_cpu:
        # On a CPU, nothing is compiled, and no memory is profiled, as the cache has a fixed size.
        arguments |= {"enforce_eager": True, "skip_mm_profiling": True}
    given = dict(settings.vllm_args)
    grammars = given.pop("structured_outputs_config", {})
    return arguments | {"structured_outputs_config": GRAMMARS | dict(grammars)} | given
