"""Concurrent requests to a store, with answers in the order of the requests.

A request to an object store takes about 30 ms, most of it waiting. A driver that reads something
about each of many image shards therefore keeps many requests in flight, from threads. The number of
answers in memory is bounded.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from nucleus_data.corpus.store import Store

Q = TypeVar("Q")
A = TypeVar("A")
IN_FLIGHT = 64
# A local disk answers at once: with more threads, they would only wait for the interpreter's lock.
LOCAL = 4
SHORT = 2  # threads for calls that take less time than the threads' switching


def at_once(
    store: Store, ask: Callable[[Q], A], questions: Iterable[Q], most: int = IN_FLIGHT
) -> Iterator[A]:
    """Yields `ask(question)` for each question, in order, with many calls in flight.

    Args:
        store: The store that `ask` reads; decides the number of threads (64, or 4 if it is local).
        ask: The function to call, from several threads. Its exceptions are raised here, in order.
        questions: Its arguments, consumed as answers are taken; may be endless.
        most: Maximum number of calls in flight; up to twice as many answers are in memory.
    """
    most = min(most, LOCAL if store.local else IN_FLIGHT)
    pending = iter(questions)
    first = list(islice(pending, 2))
    if len(first) < 2:
        yield from map(ask, first)
        return
    with ThreadPoolExecutor(most) as pool:
        # Queue twice as many as run at once, so that one slow call does not block the others.
        waiting: deque[Future[A]] = deque(pool.submit(ask, one) for one in first)
        waiting.extend(pool.submit(ask, one) for one in islice(pending, 2 * most - len(first)))
        try:
            while waiting:
                answer = waiting.popleft().result()
                waiting.extend(pool.submit(ask, one) for one in islice(pending, 1))
                yield answer
        finally:
            for one in waiting:
                one.cancel()


def some_at_once(
    store: Store, ask: Callable[[Q], A], questions: Iterable[Q], together: int = 16
) -> Iterator[A]:
    """Like `at_once`, for calls so short that a local store needs several per thread switch.

    Args:
        store: The store that `ask` reads.
        ask: The function to call, as in `at_once`.
        questions: Its arguments.
        together: Number of calls per task of a thread, if the store is local.
    """
    if not store.local:
        yield from at_once(store, ask, questions)
        return

    def ask_batch(batch: list[Q]) -> tuple[list[A], Exception | None]:
        answers: list[A] = []
        try:
            answers.extend(map(ask, batch))  # keeps the answers before one that fails
        except Exception as error:  # raised below, after these answers
            return answers, error
        return answers, None

    pending = iter(questions)
    batches = iter(lambda: list(islice(pending, together)), [])
    for answers, error in at_once(store, ask_batch, batches, SHORT):
        yield from answers
        if error is not None:
            raise error


def growing(store: Store, ask: Callable[[Q], A], questions: Iterable[Q]) -> Iterator[tuple[Q, A]]:
    """Yields (question, answer) in order, for a caller that may stop early.

    Batches grow (1, 2, 4, ... calls at once, up to 64), so that few answers are computed in vain.

    Args:
        store: The store that `ask` reads.
        ask: The function to call, from several threads.
        questions: Its arguments.
    """
    pending, size = iter(questions), 1
    while batch := list(islice(pending, size)):
        yield from zip(batch, at_once(store, ask, batch), strict=True)
        size = min(2 * size, IN_FLIGHT)
