"""Preprocesses pictures for vLLM outside of the engine's thread.

vLLM's own renderer processes one picture at a time, as it shares a cache with the engine. This
module keeps independent processors, one for each busy thread, and passes their complete results to
the engine (`mm_processor_cache_gb=0`). A picture is identified by a hash of its pixels, under which
the engine finds the vision encoding, and the cached tokens, of an earlier request.
"""

import copy
import hashlib
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.cache import BaseMultiModalProcessorCache
from vllm.multimodal.processing import ProcessorInputs, TimingContext
from vllm.utils.cache import CacheInfo

from nucleus_data.engines.captioner import Counts, Pixels


class Pictures:
    """A pool of a model's processors, which grows to the number of concurrent threads.

    Args:
        model_config: vLLM's model configuration.
        tokenizer: vLLM's tokenizer; each processor gets a copy, as it is not thread-safe.
    """

    def __init__(self, model_config: Any, tokenizer: Any) -> None:
        self._model_config = model_config
        self._tokenizer = tokenizer
        self._making = threading.Lock()
        self._idle: queue.LifoQueue[Processor] = queue.LifoQueue()
        self._threads = threading.local()

    @contextmanager
    def processor(self) -> Iterator["Processor"]:
        """Yields a processor for exclusive use."""
        if not getattr(self._threads, "single", False):
            # There are as many preparing threads as CPUs, and torch would start that many in each.
            torch.set_num_threads(1)
            self._threads.single = True
        try:
            made = self._idle.get_nowait()
        except queue.Empty:
            with self._making:
                made = Processor(self._model_config, copy.deepcopy(self._tokenizer))
        try:
            yield made
        finally:
            made.forget()
            self._idle.put(made)


class Processor:
    """vLLM's processor of a model's pictures, for one thread at a time.

    Args:
        model_config: vLLM's model configuration.
        tokenizer: A tokenizer that nothing else uses.
    """

    def __init__(self, model_config: Any, tokenizer: Any) -> None:
        self._processor = MULTIMODAL_REGISTRY.create_processor(model_config, tokenizer=tokenizer)
        self._cache = _OnePicture()
        self._last: _Rendered | None = None

    def rendered(self, image: Image.Image | None, name: str, tokens: list[int], frame: int) -> Any:
        """Returns the engine's input for a request.

        Args:
            image: The picture; it is processed only once as long as `name` stays the same.
            name: The picture's name, from `name_of`.
            tokens: Tokens of the chat, including the picture's placeholder.
            frame: Number of tokens before the question. A further question about the same picture,
                with the same tokens before it, takes almost no time.
        """
        before, question = tokens[:frame], tokens[frame:]
        last = self._last
        if last is not None and (last.name, last.before) == (name, before):
            return {**last.made, "prompt_token_ids": [*last.start, *question]}
        items = self._processor.info.parse_mm_data({"image": image})
        inputs = ProcessorInputs(tokens, items, {"image": [name]}, cache=self._cache)
        made = self._processor.apply(inputs, TimingContext(enabled=False))
        start = _without(question, made)
        self._last = None if start is None else _Rendered(name, before, start, dict(made))
        return made

    def forget(self) -> None:
        """Drops the last picture."""
        self._cache.clear_cache()
        self._last = None


class _Rendered(NamedTuple):
    """The processed picture and beginning of a chat, kept for the next question.

    Attributes:
        name: The picture's name.
        before: Tokens of the chat before the question.
        start: The same tokens, with the placeholder replaced by the picture's tokens.
        made: The engine's input for the last question.
    """

    name: str
    before: list[int]
    start: list[int]
    made: dict[str, Any]


def _without(question: list[int], made: Any) -> list[int] | None:
    """Returns the processed tokens before a question.

    Returns:
        None if processing the picture affected the tokens of the question or anything behind it.
    """
    tokens = made["prompt_token_ids"]
    end = len(tokens) - len(question)
    places = [place for found in made["mm_placeholders"].values() for place in found]
    if tokens[end:] != question or any(place.offset + place.length > end for place in places):
        return None
    return list(tokens[:end])


class _OnePicture(BaseMultiModalProcessorCache):
    """A cache of one processed picture, for its next question."""

    def __init__(self) -> None:
        self._name, self._item = "", None

    def is_cached_item(self, mm_hash: str) -> bool:
        return self._item is not None and mm_hash == self._name

    def get_and_update_item(self, mm_item: Any, mm_hash: str) -> Any:
        if not self.is_cached_item(mm_hash):
            self._name, self._item = mm_hash, mm_item
        return self._item

    def touch_sender_cache_item(self, mm_hash: str) -> None:
        pass

    def clear_cache(self) -> None:
        self._name, self._item = "", None

    def make_stats(self, *, delta: bool = False) -> CacheInfo:
        return CacheInfo(hits=0, total=0)


def name_of(picture: Pixels) -> str:
    """Returns a hash of a picture's size and pixels."""
    digest = hashlib.sha256(str(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def count_encodes(engine: Any, counts: Counts) -> None:
    """Counts the pictures that vLLM's scheduler sends through the vision tower.

    vLLM's own statistics include this number, but collect all others at every step as well.

    Args:
        engine: An `LLMEngine`; nothing is counted if its core is in another process.
        counts: Receives `pictures`.
    """
    core = getattr(engine.engine_core, "engine_core", None)
    scheduler = getattr(core, "scheduler", None)
    if scheduler is None:
        return
    schedule = scheduler.schedule

    def counted(*given: Any, **named: Any) -> Any:
        planned = schedule(*given, **named)
        if found := sum(map(len, planned.scheduled_encoder_inputs.values())):
            counts.add(pictures=found)
        return planned

    scheduler.schedule = counted
