"""Captions with `generate` of the package transformers, in batches.

It is slower than vLLM, but runs on every machine with torch. All requests of a batch have the same
`max_tokens`; the vision tower runs once for each request.
"""

import copy
import functools
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from nucleus_data.engines.captioner import Ask, Counts, EngineSettings, Generated, Pixels, Prepared
from nucleus_data.engines.chat import TEMPLATE_ARGS, Chat, Chats
from nucleus_data.engines.find import ModelReference
from nucleus_data.engines.grammar import bounded_grammar
from nucleus_data.engines.refusals import check_length, check_sees, check_shown, ended, raised
from nucleus_data.engines.thinking import Answers
from nucleus_data.engines.transformers_inputs import Inputs, Request, filled
from nucleus_data.errors import RequestError

MAX_BATCH = 32


class TransformersEngine:
    """A captioning engine (`captioner.Engine`) on the package transformers.

    Args:
        model: The model to load.
        settings: Device, precision, and limits of requests.
        pictures: Whether requests will contain pictures.

    Raises:
        RequestError: Requests will contain pictures, and the model is text-only; or its chat
            template can't be used.
    """

    name = "transformers"
    patience_s: float | None = None

    def __init__(
        self, model: ModelReference, settings: EngineSettings, *, pictures: bool = True
    ) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        on_gpu = torch.cuda.is_available()
        dtype = "float32" if not on_gpu and settings.dtype == "auto" else settings.dtype
        source: dict[str, Any] = (
            {"local_files_only": True} if model.local else {"revision": model.revision}
        )
        self.version: str = transformers.__version__
        self.on_cpu = not on_gpu
        self._max_model_len = settings.max_model_len
        self._batch = min(settings.max_in_flight, MAX_BATCH)
        config = transformers.AutoConfig.from_pretrained(model.location, **source)
        self._sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        check_sees(model.name, sees=self._sees, pictures=pictures)
        reads = transformers.AutoProcessor if self._sees else transformers.AutoTokenizer
        self._processor: Any = reads.from_pretrained(model.location, **source)
        self._tokenizer: Any = self._processor.tokenizer if self._sees else self._processor
        self._answers = Answers.of(self._tokenizer)
        # Guards the processor, which modifies its tokenizer while it works.
        self._processing = threading.Lock()
        self._template_args = {**TEMPLATE_ARGS, **settings.template_args}
        self._chats = Chats(copy.deepcopy(self._tokenizer), self._render, pictures=pictures)
        if not self._chats.usual.divides:
            raise RequestError(
                "caption.engine=transformers: the model's chat template must have token boundaries"
                f" around the user's text, but it gives {self._chats.usual.frame!r}. Use"
                " caption.engine=vllm"
            )
        loads = (
            transformers.AutoModelForImageTextToText
            if self._sees
            else transformers.AutoModelForCausalLM
        )
        self._model = loads.from_pretrained(model.location, dtype=dtype, **source).eval()
        self._model.to("cuda" if on_gpu else "cpu")
        # Of the model's generation configuration, only the end tokens are kept, since sampling
        # parameters belong to each request.
        own = self._model.generation_config
        ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
        self._ends = [end for end in ends if end is not None]
        self._pad = own.pad_token_id if own.pad_token_id is not None else self._ends[0]
        self._model.generation_config = transformers.GenerationConfig(
            eos_token_id=self._ends, pad_token_id=self._pad, do_sample=False
        )
        self._waiting: list[Request] = []
        self._counts = Counts()

    def prepare(self, picture: Pixels | None, asks: Sequence[Ask]) -> Prepared:
        """Makes the tokens of all questions, and the picture's patches once; in any thread."""
        requests: list[Request] = []
        failed: list[Generated] = []
        image = None if picture is None else Image.fromarray(picture)
        framed: dict[Chat, Inputs] = {}
        for ask in asks:
            try:
                check_shown(ask, picture)
                chat = self._chats.of(ask.system, sees_picture=ask.sees_picture)
                user = chat.plain(ask.question)
                if chat not in framed:
                    framed[chat] = self._framed(chat, image if ask.sees_picture else None)
                grammar = self._grammar(ask.schema) if ask.schema else None
                inputs = filled(framed[chat], user, len(chat.after))
                request = Request(ask, inputs, chat.thinks, grammar)
                check_length(request.length, ask.sampling.max_tokens, self._max_model_len)
            except Exception as error:
                failed.append(ended(ask.key, error, (ValueError, RequestError)))
            else:
                requests.append(request)
        return Prepared(tuple(one.ask.key for one in requests), failed, requests)

    def submit(self, prepared: Prepared) -> None:
        """Takes a prepared picture."""
        self._waiting += prepared.work

    def pending(self) -> int:
        """Returns the number of submitted requests that `step` has not returned yet."""
        return len(self._waiting)

    def step(self) -> list[Generated]:
        """Captions one batch: the oldest request and others with the same batch key."""
        if not self._waiting:
            return []
        like = self._waiting[0].like
        batch = [request for request in self._waiting if request.like == like][: self._batch]
        taken = {id(request) for request in batch}
        self._waiting = [request for request in self._waiting if id(request) not in taken]
        return self._alone_if_need_be(batch)

    def count_tokens(self, text: str) -> int:
        """Returns the number of tokens of a user's text; ValueError if it can't be encoded."""
        return len(self._chats.usual.plain(text))

    def counts(self) -> Mapping[str, int]:
        """Returns the counts since the last call."""
        return self._counts.take()

    def _render(self, system: str | None, text: str, sees_picture: bool) -> str:
        """Applies the chat template."""

        def content(message: str) -> Any:
            # Templates of text-only models do not know content of several types.
            return [{"type": "text", "text": message}] if self._sees else message

        asked = content(text)
        if sees_picture:
            asked = [{"type": "image"}, *asked]
        messages: list[Any] = [{"role": "user", "content": asked}]
        if system is not None:
            messages = [{"role": "system", "content": content(system)}, *messages]
        rendered: str = self._processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **self._template_args
        )
        return rendered

    def _framed(self, chat: Chat, image: Image.Image | None) -> Inputs:
        """Returns the tokens of the template without a user's text, and the picture's patches.

        The processor interprets special tokens in any text, so it is never given the user's text.
        """
        images = {} if image is None else {"images": [image]}
        with self._processing:
            return dict(self._processor(text=[chat.frame], return_tensors="pt", **images))

    def _grammar(self, schema: str) -> Any:
        """Compiles a schema's grammar; RequestError if it is invalid or not supported."""
        with self._processing:
            return self._compiled(schema)

    @functools.cached_property
    def _compiled(self) -> Any:
        """The cached function that compiles a schema to its grammar."""
        try:
            import xgrammar
        except ImportError:
            raise RequestError(
                "a schema needs the package xgrammar; run: pip install xgrammar"
            ) from None
        size = self._model.get_output_embeddings().weight.shape[0]
        compiler = xgrammar.GrammarCompiler(
            xgrammar.TokenizerInfo.from_huggingface(
                self._tokenizer, vocab_size=size, stop_token_ids=self._ends
            )
        )

        @functools.cache
        def compiled(schema: str) -> Any:
            try:
                return compiler.compile_grammar(bounded_grammar(schema))
            except Exception as error:  # the package does not document what it raises
                raise RequestError(f"the schema can't be enforced: {error}") from None

        return compiled

    def _batched(self, requests: Sequence[Inputs]) -> Inputs:
        """Collates the inputs of several requests to one batch on the model's device."""
        import torch

        length = max(inputs["input_ids"].shape[1] for inputs in requests)
        batch = {}
        for name, first in requests[0].items():
            tensors = [inputs[name] for inputs in requests]
            if first.shape == requests[0]["input_ids"].shape:
                # Pad on the left, since `generate` continues from the last token of each row.
                fill = self._tokenizer.pad_token_id if name == "input_ids" else 0
                tensors = [
                    torch.nn.functional.pad(t, (length - t.shape[1], 0), value=fill)
                    for t in tensors
                ]
            batch[name] = torch.cat(tensors).to(self._model.device)
        return batch

    def _alone_if_need_be(self, batch: list[Request]) -> list[Generated]:
        """Captions a batch; if that raises, captions each of its requests alone."""
        import torch

        try:
            return self._generate(batch)
        except Exception as error:
            if self._model.device.type == "cuda":
                # Raises if the device is unusable, in which case all other requests would fail too.
                torch.cuda.synchronize()
            if len(batch) == 1:
                return [raised(batch[0].ask.key, error)]
        return [made for one in batch for made in self._alone_if_need_be([one])]

    def _generate(self, batch: list[Request]) -> list[Generated]:
        """Captions a batch; each caption is cut at its own end."""
        import torch

        from nucleus_data.engines.draw import Draw, cut

        inputs = self._batched([one.inputs for one in batch])
        start = inputs["input_ids"].shape[1]
        rows = [one.ask.sampling for one in batch]
        processors: list[Any] = [Draw(rows, start, [one.length for one in batch], self._ends)]
        if batch[0].grammar is not None:
            from xgrammar.contrib.hf import LogitsProcessor

            processors = [LogitsProcessor([one.grammar for one in batch]), *processors]
        with torch.inference_mode():
            out = self._model.generate(
                **inputs, max_new_tokens=rows[0].max_tokens, logits_processor=processors
            )
        decode = functools.partial(
            self._tokenizer.decode, skip_special_tokens=not self._answers.marked
        )
        done = []
        for one, ids in zip(batch, out[:, start:].tolist(), strict=True):
            with self._processing:
                drawn = cut(ids, one.ask.sampling, self._ends, decode)
            self._counts.add(
                pictures=one.ask.sees_picture, prompt_tokens=one.length, tokens=drawn.tokens
            )
            text = self._answers.text(drawn.text, opened=one.thinks)
            found = drawn.finish_reason, drawn.tokens, one.length, drawn.at_stop
            done.append(Generated(one.ask.key, text, *found))
        return done
