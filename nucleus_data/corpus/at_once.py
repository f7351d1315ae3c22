"""Many small requests at once: what a driver asks a store about very many image shards.

A request to an object store takes 30 ms, most of which is waiting. So nothing is asked for in a row
what could be asked for together; and no more answers are held than are under way.
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
# A local disk does not keep one waiting: further threads would wait for Python's lock alone.
LOCAL = 4


def at_once(
    store: Store, ask: Callable[[Q], A], questions: Iterable[Q], most: int = IN_FLIGHT
) -> Iterator[A]:
    """The answers to some questions, in their order, with many requests in flight.

    Args:
        store: What is asked: an object store is asked 64 questions at a time.
        ask: Answers one; called from several threads. What it raises is raised here, in its turn.
        questions: They are taken as answers are taken, so there may be any number of them.
        most: How many are in flight at most; twice as many answers are held.
    """
    most = min(most, LOCAL if store.local else IN_FLIGHT)
    pending = iter(questions)
    first = list(islice(pending, 2))
    if len(first) < 2:
        yield from map(ask, first)
        return
    with ThreadPoolExecutor(most) as pool:
        # Twice as many as are in flight: one slow answer does not keep the others from starting.
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
    """`at_once` for questions that a local disk answers faster than a thread is handed them.

    Args:
        store: What is asked.
        ask: Answers one, as in `at_once`.
        questions: What is asked, in this order.
        together: How many a thread is handed at a time, where the store is local.
    """
    if not store.local:
        yield from at_once(store, ask, questions)
        return

    def some(batch: list[Q]) -> tuple[list[A], Exception | None]:
        found: list[A] = []
        try:
            found.extend(map(ask, batch))  # those before one that fails are there
        except Exception as error:  # raised in its turn
            return found, error
        return found, None

    pending = iter(questions)
    batches = iter(lambda: list(islice(pending, together)), [])
    for answers, error in at_once(store, some, batches):
        yield from answers
        if error is not None:
            raise error


def growing(store: Store, ask: Callable[[Q], A], questions: Iterable[Q]) -> Iterator[tuple[Q, A]]:
    """Questions with their answers, for who may have enough of them soon: 1, 2, 4 ... at once.

    Args:
        store: What is asked.
        ask: Answers one; called from several threads.
        questions: What is asked, in this order.
    """
    pending, size = iter(questions), 1
    while batch := list(islice(pending, size)):
        yield from zip(batch, at_once(store, ask, batch), strict=True)
        size = min(2 * size, IN_FLIGHT)
