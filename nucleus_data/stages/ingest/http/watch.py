"""Time limits of many concurrent requests: one periodic check instead of a timer for each.

A limit is noticed up to `TICK_S` late, which hardly matters for limits of seconds, and costs very
little.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

TICK_S = 0.1


class Limit:
    """The time limit of one task, within a `with` block.

    Attributes:
        at: When the time is over; may be changed.
    """

    __slots__ = ("_over", "_task", "_watch", "at")

    def __init__(self, watch: "Watch", at: float) -> None:
        self.at = at
        self._watch, self._over = watch, False
        self._task = asyncio.current_task()

    def __enter__(self) -> Self:
        self._watch.limits.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.limits.discard(self)
        if not self._over or self._task is None:
            return
        # As in asyncio.timeout: unless someone else cancelled the task, too, it continues.
        if self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """Cancels what the task is waiting for."""
        self._over = True
        if self._task is not None:
            self._task.cancel()


class Watch:
    """Checks the limits of all requests, within an `async with` block.

    Args:
        clock: Returns the event loop's time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.limits: set[Limit] = set()
        self._clock = clock
        self._looking: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._looking is not None:
            self._looking.cancel()

    def limit(self, seconds: float) -> Limit:
        """Makes a limit of so many seconds from now."""
        return Limit(self, self._clock() + seconds)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock()
            for limit in [limit for limit in self.limits if limit.at <= now]:
                self.limits.discard(limit)
                limit.end()
