"""Makes the random generators of vLLM's requests on a CPU support rewinding.

A prompt is read in several steps if the batch or the vision tower has no more room. What vLLM
samples before the prompt's end is discarded, and the request's generator is rewound by an offset.
torch's generators on a CPU have no offset, so the engine would raise and lose all its requests.
"""

from typing import Any

import torch
from vllm.v1.worker.gpu_input_batch import InputBatch

_add_request = InputBatch.add_request


class Restarting(torch.Generator):
    """A generator that returns to its seed whenever vLLM rewinds it.

    That is exact while a prompt is first read, since only samples after its end are kept.
    """

    def get_offset(self) -> int:
        """Returns a placeholder, which only `set_offset` receives."""
        return 0

    def set_offset(self, offset: int) -> torch.Generator:
        """Returns to the seed, whatever the offset."""
        return self.manual_seed(self.initial_seed())


def _add(self: InputBatch, request: Any) -> Any:
    """Adds a request to the batch, with a generator that can be rewound."""
    if type(request.generator) is torch.Generator:  # not yet replaced
        generator = Restarting(device="cpu")
        generator.manual_seed(request.generator.initial_seed())
        generator.set_state(request.generator.get_state())
        request.generator = generator
    return _add_request(self, request)


def use_restarting_generators() -> None:
    """Replaces the generators of all later requests in this process; for engines on a CPU."""
    InputBatch.add_request = _add  # type: ignore[method-assign]
