import gc
import threading
import time

import pytest

from nucleus_data.errors import CorpusError
from nucleus_model.data.reads import Reads


def test_reads_are_in_flight_together():
    reads = Reads(8, timeout_s=5)
    together = threading.Barrier(8, timeout=5)
    begun = [reads.begin("x", lambda n=n: (together.wait(), n)[1]) for n in range(8)]
    assert [read.result() for read in begun] == list(range(8))


def test_one_that_hangs_is_asked_for_again_and_then_an_error():
    reads, asked, end = Reads(1, timeout_s=0.02), [], threading.Event()

    def slow_once():
        asked.append(time.perf_counter())
        if len(asked) == 1:
            end.wait(5)
        return "there"

    assert reads.begin("a", slow_once).result() == "there"
    assert len(asked) == 2
    with pytest.raises(CorpusError, match=r"reading tar 7 took longer than 0.02 s, 3 times"):
        reads.begin("tar 7", lambda: end.wait(5)).result()
    end.set()


def test_a_reads_own_error_is_raised():
    def lost():
        raise TimeoutError("of the store")

    with pytest.raises(TimeoutError, match="of the store"):
        Reads(1, timeout_s=5).begin("x", lost).result()


def test_threads_end_with_what_asked_them():
    reads, others = Reads(3, 10), set(threading.enumerate())
    assert [reads.begin("a file", lambda n=n: n).result() for n in range(3)] == [0, 1, 2]
    mine = set(threading.enumerate()) - others
    assert mine
    del reads
    gc.collect()
    for thread in mine:
        thread.join(5)
    assert not any(thread.is_alive() for thread in mine)
