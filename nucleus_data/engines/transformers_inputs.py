"""Inputs of the transformers engine for one question."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nucleus_data.engines.captioner import Ask

Inputs = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Request:
    """A prepared question.

    Attributes:
        ask: The question.
        inputs: Tensors that the model reads, by name.
        thinks: Whether the answer begins inside a block of thinking.
        grammar: Compiled grammar of the answer; None for free text.
    """

    ask: Ask
    inputs: Inputs
    thinks: bool
    grammar: Any = None

    @property
    def length(self) -> int:
        """Number of the prompt's tokens."""
        return int(self.inputs["input_ids"].shape[1])

    @property
    def like(self) -> tuple[Any, ...]:
        """The batch key: requests with equal keys may share a batch."""
        most = self.ask.sampling.max_tokens
        return most, self.grammar is None, tuple(sorted(self.inputs))


def filled(framed: Inputs, user: Sequence[int], after: int) -> Inputs:
    """Inserts a user's text into the inputs of a chat template.

    Args:
        framed: Inputs of the rendered template without the user's text.
        user: Tokens of the user's text.
        after: Number of the template's tokens behind the user's text.
    """
    import torch

    tokens = torch.tensor([list(user)], dtype=torch.long)
    filling = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    shape, made = framed["input_ids"].shape, dict(framed)
    for name, tensor in framed.items():
        if tensor.shape == shape:  # one value per token; for text, other inputs are 0
            middle = filling.get(name, torch.zeros_like(tokens)).to(tensor.dtype)
            made[name] = torch.cat([tensor[:, :-after], middle, tensor[:, -after:]], dim=1)
    return made
