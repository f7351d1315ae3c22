"""Torch set up so that equal runs give equal bits, as far as its kernels promise them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def deterministic(threads: int, device: str, seed: int) -> Iterator[None]:
    """Sets threads, torch's generator and, on the CPU, deterministic kernels; then all as before.

    Args:
        threads: CPU threads.
        device: Where the work runs. Equal bits are promised for `cpu` only; some GPU kernels have
            no deterministic form.
        seed: Of the generator, from which nothing here draws, but a codec might.
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
