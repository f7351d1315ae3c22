"""What the transformers engine makes of a question before the model reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nucleus_data.engines.captioner import Ask

Inputs = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Request:
    """A prepared question: what the model reads, and the grammar of its answer."""

    ask: Ask
    inputs: Inputs
    thinks: bool
    grammar: Any = None

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return int(self.inputs["input_ids"].shape[1])

    @property
    def like(self) -> tuple[Any, ...]:
        """What requests of one batch have in common."""
        most = self.ask.sampling.max_tokens
        return most, self.grammar is None, tuple(sorted(self.inputs))


def filled(framed: Inputs, user: Sequence[int], after: int) -> Inputs:
    """The inputs of a frame with a user's tokens before its last `after` ones."""
    import torch

    tokens = torch.tensor([list(user)], dtype=torch.long)
    filling = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    shape, made = framed["input_ids"].shape, dict(framed)
    for name, tensor in framed.items():
        if tensor.shape == shape:  # one value a token; what is not named is 0 for text
            middle = filling.get(name, torch.zeros_like(tokens)).to(tensor.dtype)
            made[name] = torch.cat([tensor[:, :-after], middle, tensor[:, -after:]], dim=1)
    return made
