"""Random numbers of vLLM's requests on a CPU, which it can't set back by itself.

A prompt may be read in several steps, where a batch or the vision tower has no more room. What is
sampled before its end is discarded, and vLLM then sets the request's generator back by an offset.
Those of a CPU have none: the engine raises, and all its requests are lost.
"""

from typing import Any

import torch
from vllm.v1.worker.gpu_input_batch import InputBatch

_add_request = InputBatch.add_request


class Restarting(torch.Generator):
    """A generator that starts again where vLLM sets it back, as if nothing had been sampled.

    That is exact for a prompt's first reading: only what follows its end is kept.
    """

    def get_offset(self) -> int:
        """Tells an offset, of which only `set_offset` knows."""
        return 0

    def set_offset(self, offset: int) -> torch.Generator:
        """Starts again from the seed."""
        return self.manual_seed(self.initial_seed())


def _add(self: InputBatch, request: Any) -> Any:
    """Adds a request to the batch, with a generator that can be set back."""
    if type(request.generator) is torch.Generator:  # not yet replaced
        generator = Restarting(device="cpu")
        generator.manual_seed(request.generator.initial_seed())
        generator.set_state(request.generator.get_state())
        request.generator = generator
    return _add_request(self, request)


def use_restarting_generators() -> None:
    """Replaces the generators of all later requests of this process; of engines on a CPU only."""
    InputBatch.add_request = _add  # type: ignore[method-assign]
