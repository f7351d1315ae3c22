"""Samples tokens for the transformers engine, with separate parameters for each row of a batch.

Sampling adds Gumbel noise to the logits and takes the largest, which gives the same distribution
(Gumbel 1954). Each request has a random generator of its own, so that a caption does not depend on
its batch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from nucleus_data.engines.captioner import Sampling


class Draw:
    """A logits processor after which each row's largest logit is the sampled token.

    Args:
        rows: Sampling parameters of each row.
        start: Position at which captions begin.
        lengths: Number of tokens of each row's prompt, without the padding on its left.
        ends: Tokens that end a caption.
    """

    def __init__(
        self, rows: Sequence[Sampling], start: int, lengths: Sequence[int], ends: Sequence[int]
    ) -> None:
        self._rows = rows
        self._start = start
        self._lengths = lengths
        self._ends = list(ends)
        self._random = [torch.Generator().manual_seed(row.seed) for row in rows]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Applies penalties, `min_tokens` and sampling to the logits, in vLLM's order.

        Args:
            input_ids: int64[B, L], the tokens so far.
            scores: Logits of the next token, [B, V].

        Returns:
            float32[B, V], in which the largest logit of a row is the sampled token.
        """
        scores = scores.float().clone()
        for i, sampling in enumerate(self._rows):
            caption = input_ids[i, self._start :]
            if sampling.repetition_penalty != 1:
                seen = input_ids[i, self._start - self._lengths[i] :].unique()
                seen_logits = scores[i, seen]
                by = torch.where(
                    seen_logits > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty
                )
                scores[i, seen] = seen_logits * by
            if sampling.presence_penalty:
                scores[i, caption.unique()] -= sampling.presence_penalty
            if len(caption) < sampling.min_tokens:
                scores[i, self._ends] = float("-inf")
            if sampling.temperature == 0:
                continue
            logits = scores[i] / sampling.temperature
            order = logits.argsort(descending=True)
            # Cumulative probability of all likelier tokens, so that the token that crosses top_p is
            # still kept.
            before = logits[order].softmax(0).cumsum(0) - logits[order].softmax(0)
            logits[order[before >= sampling.top_p]] = float("-inf")
            # Sampled on the CPU, so that a seed gives the same caption on any device. Clamped,
            # since the logarithm of 0 is infinite.
            uniform = torch.rand(logits.shape[0], generator=self._random[i]).to(logits)
            scores[i] = logits - torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        return scores


class Drawn(NamedTuple):
    """The caption of one row.

    Attributes:
        text: The text without its end, and without surrounding white space.
        finish_reason: `stop` or `length`.
        tokens: Number of tokens of the text and its end.
        at_stop: Whether a stop text ended the caption.
    """

    text: str
    finish_reason: str
    tokens: int
    at_stop: bool = False


def cut(
    ids: Sequence[int], sampling: Sampling, ends: Sequence[int], decode: Callable[[list[int]], str]
) -> Drawn:
    """Cuts a row at its end token, or before a stop text.

    Args:
        ids: All generated tokens of the row.
        sampling: Sampling parameters of the row.
        ends: Tokens that end a caption.
        decode: Decodes tokens to text.
    """
    end = next((i for i, token in enumerate(ids) if token in ends), None)
    caption = list(ids if end is None else ids[:end])
    if sampling.stop:
        free = len(decode(caption[: sampling.min_tokens]))
        for count in range(sampling.min_tokens + 1, len(caption) + 1):
            text = decode(caption[:count])
            stops = [at for stop in sampling.stop if (at := text.find(stop, free)) >= 0]
            if stops:
                return Drawn(text[: min(stops)].strip(), "stop", count, at_stop=True)
    text = decode(caption).strip()
    return Drawn(text, "length", len(ids)) if end is None else Drawn(text, "stop", end + 1)
