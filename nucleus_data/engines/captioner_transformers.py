"""transformers' `generate` in batches: slower than vLLM, and there wherever torch is.

A batch shares one `max_tokens`. Sampling is done by adding Gumbel noise to the logits and taking
the largest (Gumbel 1954: the same distribution), with a generator of its own for every request, so
that a caption does not depend on the batch it was in.
"""

import os
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
    raised,
)
from nucleus_data.engines.chat import Chat
from nucleus_data.engines.find import ModelReference

if TYPE_CHECKING:
    import torch

MAX_BATCH = 32
Inputs = dict[str, Any]
Request = tuple[Ask, Inputs]


class TransformersEngine:
    """An `Engine` (`captioner`) on the package transformers.

    Args:
        model: The model to load.
        settings: Device, precision, and limits of requests.
    """

    name = "transformers"

    def __init__(self, model: ModelReference, settings: EngineSettings) -> None:
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
        self._max_model_len = settings.max_model_len
        self._batch = min(settings.max_in_flight, MAX_BATCH)
        self._processor = transformers.AutoProcessor.from_pretrained(model.location, **source)
        self._chat = Chat(self._processor.tokenizer, self._processor)
        self._model = transformers.AutoModelForImageTextToText.from_pretrained(
            model.location, dtype=dtype, **source
        ).eval()
        self._model.to("cuda" if on_gpu else "cpu")
        # Only the ends of a text are taken over: sampling is each request's own.
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
        """Makes tokens and patches of a picture's requests; in any thread."""
        requests: list[Request] = []
        failed: list[Generated] = []
        for ask in asks:
            try:
                inputs = self._inputs(picture, ask.question)
                length = inputs["input_ids"].shape[1]
                check_length(length, ask.sampling.max_tokens, self._max_model_len)
            except Exception as error:
                failed.append(ended(ask.key, error, (ValueError,)))
            else:
                requests.append((ask, inputs))
        return Prepared(tuple(ask.key for ask, _ in requests), failed, requests)

    def submit(self, prepared: Prepared) -> None:
        """Takes a prepared picture."""
        self._waiting += prepared.work

    def pending(self) -> int:
        """Requests submitted and not yet given back."""
        return len(self._waiting)

    def step(self) -> list[Generated]:
        """Captions one batch: the oldest request and those that share its `max_tokens`."""
        if not self._waiting:
            return []
        longest = self._waiting[0][0].sampling.max_tokens
        batch = [one for one in self._waiting if one[0].sampling.max_tokens == longest]
        batch = batch[: self._batch]
        taken = {id(request) for request in batch}
        self._waiting = [request for request in self._waiting if id(request) not in taken]
        return self._alone_if_need_be(batch, longest)

    def count_tokens(self, text: str) -> int:
        """How many tokens a user's text has. Raises ValueError if it can't be encoded."""
        return len(self._chat.plain(text))

    def counts(self) -> Mapping[str, int]:
        """What was done since this was asked last."""
        return self._counts.take()

    def _inputs(self, image: Any, prompt: str) -> Inputs:
        """Tokens and patches of one request."""
        import torch

        made = dict(
            self._processor(
                text=[self._chat.frame], images=[Image.fromarray(image)], return_tensors="pt"
            )
        )
        # The processor reads special tokens in any text that it is given, so it does not see the
        # user's: it makes the frame with the picture's tokens, and these go in.
        user = torch.tensor([self._chat.plain(prompt)], dtype=torch.long)
        filling = {"input_ids": user, "attention_mask": torch.ones_like(user)}
        shape, at = made["input_ids"].shape, -len(self._chat.after)
        for name, tensor in made.items():
            if tensor.shape == shape:  # one value a token; what is not named is 0 for text
                middle = filling.get(name, torch.zeros_like(user)).to(tensor.dtype)
                made[name] = torch.cat([tensor[:, :at], middle, tensor[:, at:]], dim=1)
        return made

    def _batched(self, requests: list[Inputs]) -> Inputs:
        """The inputs of several requests as one batch, on the model's device."""
        import torch

        length = max(inputs["input_ids"].shape[1] for inputs in requests)
        batch = {}
        for name, first in requests[0].items():
            tensors = [inputs[name] for inputs in requests]
            if first.shape == requests[0]["input_ids"].shape:
                # `generate` goes on from the last token of each row, which must not be padding.
                fill = self._processor.tokenizer.pad_token_id if name == "input_ids" else 0
                tensors = [
                    torch.nn.functional.pad(t, (length - t.shape[1], 0), value=fill)
                    for t in tensors
                ]
            batch[name] = torch.cat(tensors).to(self._model.device)
        return batch

    def _alone_if_need_be(self, batch: list[Request], max_tokens: int) -> list[Generated]:
        """Captions of a batch; if that raises, of each of its requests alone."""
        import torch

        try:
            return self._generate(batch, max_tokens)
        except Exception as error:
            if self._model.device.type == "cuda":
                # Raises if the device is of no more use: then no other request would do better.
                torch.cuda.synchronize()
            if len(batch) == 1:
                return [raised(batch[0][0].key, error)]
        return [made for one in batch for made in self._alone_if_need_be([one], max_tokens)]

    def _generate(self, batch: list[Request], max_tokens: int) -> list[Generated]:
        """Captions of a batch, each cut at its own end token."""
        import torch

        inputs = self._batched([inputs for _, inputs in batch])
        start = inputs["input_ids"].shape[1]
        draw = _Draw([ask.sampling for ask, _ in batch], start)
        with torch.inference_mode():
            out = self._model.generate(**inputs, max_new_tokens=max_tokens, logits_processor=[draw])
        done = []
        for (ask, own), ids in zip(batch, out[:, start:].tolist(), strict=True):
            end = next((i for i, token in enumerate(ids) if token in self._ends), None)
            said = ids if end is None else ids[:end]
            text = self._processor.tokenizer.decode(said, skip_special_tokens=True).strip()
            tokens = len(ids) if end is None else end + 1
            reason = "length" if end is None else "stop"
            prompt = own["input_ids"].shape[1]
            self._counts.add(pictures=1, prompt_tokens=prompt, tokens=tokens)
            done.append(Generated(ask.key, text, reason, tokens, prompt))
        return done


class _Draw:
    """A logits processor after which the largest logit is the drawn token, row by row."""

    def __init__(self, rows: list[Sampling], start: int) -> None:
        import torch

        self._rows = rows
        self._start = start
        self._random = [torch.Generator().manual_seed(row.seed) for row in rows]

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        import torch

        scores = scores.float().clone()
        for i, sampling in enumerate(self._rows):
            if sampling.presence_penalty:
                scores[i, input_ids[i, self._start :].unique()] -= sampling.presence_penalty
            if sampling.temperature == 0:
                continue
            logits = scores[i] / sampling.temperature
            order = logits.argsort(descending=True)
            # The probability of all likelier tokens: the one that crosses top_p is still kept.
            before = logits[order].softmax(0).cumsum(0) - logits[order].softmax(0)
            logits[order[before >= sampling.top_p]] = float("-inf")
            # Drawn on the CPU, so that a seed gives the same caption on any device; clamped, as the
            # logarithm of 0 would be infinite.
            uniform = torch.rand(logits.shape[0], generator=self._random[i]).to(logits)
            scores[i] = logits - torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        return scores
