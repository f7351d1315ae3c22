"""Which token comes next, in the transformers engine: each row of a batch by its own sampling.

Sampling is done by adding Gumbel noise to the logits and taking the largest (Gumbel 1954: the same
distribution), with a generator of its own for every request, so that a caption does not depend on
the batch it was in.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from nucleus_data.engines.captioner import Sampling


class Draw:
    """A logits processor after which the largest logit is the drawn token, row by row.

    Args:
        rows: How each row is drawn.
        start: Where the captions begin.
        lengths: Tokens of each row's prompt, padding left of it not counted.
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
        """Logits of the next token, in the order of vLLM: penalties, ends, then the drawing."""
        scores = scores.float().clone()
        for i, sampling in enumerate(self._rows):
            said = input_ids[i, self._start :]
            if sampling.repetition_penalty != 1:
                seen = input_ids[i, self._start - self._lengths[i] :].unique()
                found = scores[i, seen]
                by = torch.where(
                    found > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty
                )
                scores[i, seen] = found * by
            if sampling.presence_penalty:
                scores[i, said.unique()] -= sampling.presence_penalty
            if len(said) < sampling.min_tokens:
                scores[i, self._ends] = float("-inf")
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


class Drawn(NamedTuple):
    """What was drawn of one row.

    Attributes:
        text: Without the end; white space around it removed.
        finish_reason: `stop` or `length`.
        tokens: Of the text and its end.
        at_stop: Whether a stop text ended it.
    """

    text: str
    finish_reason: str
    tokens: int
    at_stop: bool = False


def cut(
    ids: Sequence[int], sampling: Sampling, ends: Sequence[int], decode: Callable[[list[int]], str]
) -> Drawn:
    """Ends a caption at its own end token, or before a text that ends it.

    Args:
        ids: All tokens of the row.
        sampling: Of the row.
        ends: Tokens that end a caption.
        decode: The tokenizer's, without special tokens.
    """
    end = next((i for i, token in enumerate(ids) if token in ends), None)
    said = list(ids if end is None else ids[:end])
    if sampling.stop:
        free = len(decode(said[: sampling.min_tokens]))
        for count in range(sampling.min_tokens + 1, len(said) + 1):
            text = decode(said[:count])
            found = [at for stop in sampling.stop if (at := text.find(stop, free)) >= 0]
            if found:
                return Drawn(text[: min(found)].strip(), "stop", count, at_stop=True)
    text = decode(said).strip()
    return Drawn(text, "length", len(ids)) if end is None else Drawn(text, "stop", end + 1)
