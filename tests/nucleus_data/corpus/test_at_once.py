"""Many requests at once: in their order, no more than asked for, and no answers without end."""

import threading
import time

import pytest

from nucleus_data.corpus.at_once import IN_FLIGHT, at_once, growing, some_at_once
from nucleus_data.corpus.store import Store
from nucleus_data.world.throttled import counted, throttled

DELAY_S = 0.004


@pytest.fixture
def store(tmp_path):
    (tmp_path / "f").mkdir()
    for number in range(40):
        (tmp_path / "f" / str(number)).write_bytes(b"%d" % number)
    return Store(*throttled(tmp_path, DELAY_S))


def test_answers_come_in_order_and_requests_do_not_wait_for_each_other(store):
    with counted() as requests:
        found = list(at_once(store, store.read, [f"f/{n}" for n in range(40)]))
    assert found == [b"%d" % n for n in range(40)]
    assert (requests.count(), requests.count("read")) == (40, 40)
    assert requests.depth <= 10
    assert requests.at_once > 5


def test_no_more_is_asked_than_the_limit_allows_and_questions_are_taken_as_they_are_needed(store):
    now, most, taken, lock = 0, 0, 0, threading.Lock()

    def ask(number):
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
        time.sleep(0.001)
        with lock:
            now -= 1
        return number

    def questions():
        nonlocal taken
        for number in range(10_000):
            taken = number + 1
            yield number

    answers = at_once(store, ask, questions(), 8)
    assert [next(answers) for _ in range(5)] == list(range(5))
    answers.close()
    assert most <= 8
    assert taken <= 5 + 2 * 8 + 1


def test_an_error_is_raised_in_its_turn(store):
    answers = at_once(store, store.read, ["f/0", "f/none", "f/1"])
    assert next(answers) == b"0"
    with pytest.raises(FileNotFoundError):
        next(answers)


def test_who_has_enough_of_the_first_asks_for_few(store):
    with counted() as requests:
        first = next(growing(store, store.read, [f"f/{n}" for n in range(40)]))
    assert first == ("f/0", b"0")
    assert requests.count() == 1
    found = list(growing(store, store.read, [f"f/{n}" for n in range(40)]))
    assert found == [(f"f/{n}", b"%d" % n) for n in range(40)]
    assert IN_FLIGHT == 64


def test_a_local_store_is_asked_some_at_a_time_and_an_error_is_raised_in_its_turn(tmp_path):
    local, threads = Store(str(tmp_path)), set()

    def ask(number):
        threads.add(threading.get_ident())
        if number == 40:
            raise KeyError(number)
        return number

    found = some_at_once(local, ask, iter(range(1000)), together=1000)
    assert [next(found) for _ in range(40)] == list(range(40))
    assert len(threads) == 1
    with pytest.raises(KeyError, match="40"):
        next(found)
    assert list(some_at_once(local, ask, range(30), together=7)) == list(range(30))
