"""Concurrent reads from a store, each with a time-out and a limited number of attempts.

The threads are daemons, so a read that never returns blocks neither the others nor the end of the
process.
"""

import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from typing import Any, Generic, TypeVar

from nucleus_data.errors import CorpusError

T = TypeVar("T")
ATTEMPTS = 3


class Read(Generic[T]):
    """A read in flight. Made by `Reads.begin`."""

    def __init__(self, reads: "Reads", what: str, call: Callable[[], T]) -> None:
        self._reads, self._what, self._call = reads, what, call
        self._future = reads.submit(call)

    def result(self) -> T:
        """Waits for the result.

        Raises:
            CorpusError: All attempts timed out.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._future.result(self._reads.timeout_s)
            except LateError:
                if self._future.done():
                    raise  # the read's own error
                if attempt + 1 < ATTEMPTS:
                    # The hanging read occupies its thread, so allow another one.
                    self._reads.threads += 1
                    self._future = self._reads.submit(self._call)
        raise CorpusError(
            f"reading {self._what} took longer than {self._reads.timeout_s:g} s, {ATTEMPTS} times; "
            "check the store, or raise quick_train.loader.timeout_s"
        )


class Reads:
    """A pool of reading threads.

    Args:
        threads: Maximum number of concurrent reads.
        timeout_s: Seconds after which a read is retried.
    """

    def __init__(self, threads: int, timeout_s: float) -> None:
        self.threads, self.timeout_s = threads, timeout_s
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._started = 0
        weakref.finalize(self, self._queue.put, None).atexit = False

    def begin(self, what: str, call: Callable[[], T]) -> Read[T]:
        """Starts a read.

        Args:
            what: Name of what is read, for the error message.
            call: The function that reads it.
        """
        return Read(self, what, call)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queues a call for a thread of the pool."""
        future: Future[T] = Future()
        self._queue.put((future, call))
        if self._started < self.threads:
            self._started += 1
            threading.Thread(target=_work, args=(self._queue,), daemon=True).start()
        return future


def _work(waiting: "queue.SimpleQueue[Any]") -> None:
    """Executes calls until the pool is garbage-collected; so it must not refer to the pool."""
    while (item := waiting.get()) is not None:
        future, call = item
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        del item, future, call
    waiting.put(None)  # for the next thread
