import threading
from itertools import count

import pytest

from nucleus_model.data.ahead import Ahead


def test_items_come_in_order_from_another_thread():
    made = ((n, threading.current_thread()) for n in range(20))
    with Ahead(made, 3) as ahead:
        found = list(ahead)
    assert [n for n, _ in found] == list(range(20))
    assert {thread for _, thread in found}.isdisjoint({threading.main_thread()})


def test_no_more_are_made_than_asked_for_and_the_thread_ends():
    seen, enough = [], threading.Event()

    def items():
        for n in count():
            seen.append(n)
            if n == 3:
                enough.set()
            yield n

    before = threading.active_count()
    with Ahead(items(), 2) as ahead:
        assert next(iter(ahead)) == 0
        assert enough.wait(5)
    assert seen == [0, 1, 2, 3], "one taken, two that wait, one that waits for its place"
    assert threading.active_count() == before


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("the second")

    with Ahead(items(), 4) as ahead:
        taken = iter(ahead)
        assert next(taken) == 1
        with pytest.raises(ValueError, match="the second"):
            next(taken)
