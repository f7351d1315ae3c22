"""Runs a coroutine to its end: in a notebook too, and without a needless search for garbage."""

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine to its end, also where an event loop is running (a notebook)."""
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
    """Keeps the garbage collector from looking through all that is there, time and again.

    That is what was imported: 100,000 objects and more, 50 ms each time, and next to none of them
    is garbage. What comes in the meantime is looked at as ever.
    """
    if gc.get_freeze_count():  # somebody else's, who will let them go
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
