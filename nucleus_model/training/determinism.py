"""Sets up torch so that equal runs are bit-identical, as far as its kernels guarantee that."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def deterministic(threads: int, device: str, seed: int) -> Iterator[None]:
    """Sets threads, torch's generator and, on the CPU, deterministic kernels; restores them after.

    Args:
        threads: Number of CPU threads.
        device: The device of the work. Only `cpu` is bit-identical, as some GPU kernels have no
            deterministic form.
        seed: Seed of torch's global generator. Nothing in this package draws from it, but a codec
            might.
    """
    memory: Any = torch.utils.deterministic
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        memory.fill_uninitialized_memory,
    )
    torch.set_num_threads(threads)
    if device == "cpu":
        torch.use_deterministic_algorithms(True)
        memory.fill_uninitialized_memory = False  # only costs time
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        memory.fill_uninitialized_memory = before[3]
