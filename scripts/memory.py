"""The largest memory of a process, as benchmarks measure it."""

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """Returns the most bytes that this process has held in memory since it began.

    Where there is no `/proc`, it is what `getrusage` tells. On Linux that begins with what the
    parent held when it started this process, so that a small child of a large parent looks large.
    """
    if STATUS.exists():
        return int(STATUS.read_text().split("VmHWM:")[1].split()[0]) * 1024
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024
