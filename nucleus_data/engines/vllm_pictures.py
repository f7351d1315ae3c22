"""What vLLM makes of a picture before the model sees it, off the engine's thread.

vLLM's own renderer works on one picture at a time, in order with a cache that it shares with its
engine. Here are processors that share nothing, one for each thread that is busy, and their results
go to the engine as a whole (`mm_processor_cache_gb=0`). A picture is known by a hash of its pixels:
by that the engine finds the vision encode, and the tokens of it, that an earlier request left.
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
    """Processors of a model, as many as threads ask at once.

    Args:
        model_config: vLLM's.
        tokenizer: vLLM's; each processor gets a copy, as one can't be used by two threads.
    """

    def __init__(self, model_config: Any, tokenizer: Any) -> None:
        self._model_config = model_config
        self._tokenizer = tokenizer
        self._making = threading.Lock()
        self._idle: queue.LifoQueue[Processor] = queue.LifoQueue()
        self._threads = threading.local()

    @contextmanager
    def processor(self) -> Iterator["Processor"]:
        """One that no other thread has."""
        if not getattr(self._threads, "single", False):
            # The pool has as many threads as there are CPUs; each would start as many again.
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
    """vLLM's processor of a model's pictures, in one thread at a time.

    Args:
        model_config: vLLM's.
        tokenizer: Its own.
    """

    def __init__(self, model_config: Any, tokenizer: Any) -> None:
        self._processor = MULTIMODAL_REGISTRY.create_processor(model_config, tokenizer=tokenizer)
        self._cache = _OnePicture()
        self._last: _Rendered | None = None

    def rendered(self, image: Image.Image | None, name: str, tokens: list[int], frame: int) -> Any:
        """What the engine is given of a request.

        Args:
            image: The picture; that of the same name is processed once.
            name: See `name_of`.
            tokens: Of the chat, with the picture's place.
            frame: How many of the first tokens are of the chat and not of the question; another
                question about the picture, with the same ones, takes almost no time.
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
        """Lets the last picture go."""
        self._cache.clear_cache()
        self._last = None


class _Rendered(NamedTuple):
    """What was made of a picture and the beginning of a chat, for its next question.

    Attributes:
        name: Of the picture.
        before: Tokens of the chat, up to the question.
        start: The same, with the picture's tokens in its place.
        made: What the engine was given.
    """

    name: str
    before: list[int]
    start: list[int]
    made: dict[str, Any]


def _without(question: list[int], made: Any) -> list[int] | None:
    """The tokens before a question; None if the picture is, or changed something, behind them."""
    tokens = made["prompt_token_ids"]
    end = len(tokens) - len(question)
    places = [place for found in made["mm_placeholders"].values() for place in found]
    if tokens[end:] != question or any(place.offset + place.length > end for place in places):
        return None
    return list(tokens[:end])


class _OnePicture(BaseMultiModalProcessorCache):
    """Keeps what was made of one picture, for its next question."""

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
    """A hash of a picture's pixels and its size."""
    found = hashlib.sha256(str(picture.shape).encode())
    found.update(np.ascontiguousarray(picture).data)
    return found.hexdigest()


def count_encodes(engine: Any, counts: Counts) -> None:
    """Counts the pictures that go through the vision tower, as vLLM's scheduler plans them.

    Its statistics tell that too, at the price of all the others at every step.

    Args:
        engine: An `LLMEngine` whose core is in this process; of another nothing is counted.
        counts: Takes `pictures`.
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
