"""What some work takes of a process: processor time, time, memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a process took: processor seconds, seconds, and the most memory in MB."""

    processor_s: float
    seconds: float
    memory_mb: float
    images: int


def _memory_mb() -> float:
    """The most memory that this process had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def measured(work: Callable[[], int]) -> Cost:
    """What some work takes of this process."""
    start, processor = time.perf_counter(), time.process_time()
    images = work()
    return Cost(time.process_time() - processor, time.perf_counter() - start, _memory_mb(), images)
