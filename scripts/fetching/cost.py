"""What some work takes of a process: processor time, time, memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from scripts.memory import peak_memory


@dataclass(frozen=True)
class Cost:
    """What a process took: processor seconds, seconds, and the most memory in MB."""

    processor_s: float
    seconds: float
    memory_mb: float
    images: int


def measured(work: Callable[[], int]) -> Cost:
    """What some work takes of this process."""
    start, processor = time.perf_counter(), time.process_time()
    images = work()
    seconds, used = time.perf_counter() - start, time.process_time() - processor
    return Cost(used, seconds, peak_memory() / 2**20, images)
