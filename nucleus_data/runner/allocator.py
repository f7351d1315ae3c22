"""Makes a worker return freed memory to the system, which allocators would keep for later use."""

import ctypes
import sys
from functools import cache

M_ARENA_MAX = -8  # from glibc's malloc.h
ARENAS = 2


@cache
def limit_arenas() -> bool:
    """Limits glibc's malloc to two heaps (arenas), from now on, in this process.

    By default, each thread that allocates gets a heap of its own, up to eight per processor, and a
    heap does not return its free memory. As our threads mostly wait for a store, a heap for each
    makes a planning worker 150 MB larger, and nothing faster (`scripts/bench_plan.py`).

    Returns:
        Whether the limit is set; False with another C library.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS))
    except (AttributeError, OSError, TypeError):  # another C library
        return False


def release_unused() -> None:
    """Returns the memory that Arrow has freed to the system."""
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
