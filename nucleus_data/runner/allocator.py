"""Keeps what a worker has freed from staying with it: allocators hold memory for later use."""

import ctypes
import sys
from functools import cache

M_ARENA_MAX = -8  # from glibc's malloc.h
ARENAS = 2


@cache
def limit_arenas() -> bool:
    """Limits glibc to two heaps, from now on, in this process.

    By default each thread that allocates gets its own, up to eight a processor, and none gives back
    what is free in it. Our threads wait for a store most of the time: one heap for each makes a
    planning worker 150 MB larger, and nothing faster (`scripts/bench_plan.py`).

    Returns:
        Whether it is so; False if this is no glibc.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS))
    except (AttributeError, OSError, TypeError):  # another C library
        return False


def release_unused() -> None:
    """Returns to the system what Arrow has freed and keeps."""
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
