"""Runs a coroutine to its end, also within a notebook, with little garbage collection."""

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine to its end, even if an event loop is already running (in a notebook)."""
    with _little_garbage():
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(work)
        else:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, work).result()


@contextmanager
def _little_garbage() -> Iterator[None]:
    """Excludes existing objects from garbage collection meanwhile.

    These are mostly from imports: 100,000 objects and more, which take 50 ms per full collection,
    and hardly any of them is garbage. New objects are collected as usual.
    """
    if _frozen_by_others():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@cache
def _frozen_by_others() -> bool:
    """Whether other code of this process excludes its objects, and will include them again.

    It is asked once, as Python counts them one by one.
    """
    return gc.get_freeze_count() > 0
