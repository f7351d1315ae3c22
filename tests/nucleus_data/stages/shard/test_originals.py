"""Originals are read in few requests, ahead, and checked."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.stages.shard import originals
from nucleus_data.stages.shard.originals import check_original, read_originals


class Counting(Store):
    """A store that notes what it is asked for."""

    def __init__(self, uri):
        super().__init__(uri)
        self.asked = []

    def read_range(self, name, offset, size):
        self.asked.append((name, offset, size))
        return super().read_range(name, offset, size)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    (folder / "images").mkdir()
    for shard in range(3):
        content = np.random.default_rng(shard).bytes(300_000)
        (folder / f"images/{shard:06d}.tar").write_bytes(content)
    return Counting(str(folder))


def rows(places):
    columns = zip(*places, strict=True)
    return pa.table(dict(zip(("shard", "offset", "size"), columns, strict=True)))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 290_000), st.integers(1, 9_000)), min_size=1
    )
)
def test_each_row_gets_its_bytes_in_order(store, places):
    wanted = [Store.read_range(store, f"images/{s:06d}.tar", at, n) for s, at, n in places]
    assert list(read_originals(store, rows(places))) == wanted


def test_neighbours_are_read_together_and_nothing_is_asked_twice(store):
    store.asked.clear()
    places = [(s, 512 + 2000 * i, 1500) for i in range(100) for s in (2, 0)]
    list(read_originals(store, rows(places[::-1])))
    assert len(store.asked) == 2  # no size, no table, a range a shard
    assert sum(size for _, _, size in store.asked) < 2 * 201_000
    store.asked.clear()
    list(read_originals(store, rows([(0, 0, 10), (0, 200_000, 10)])))
    assert len(store.asked) == 2  # what lies between is more than a request costs


def test_at_most_two_windows_are_read_ahead(store, monkeypatch):
    monkeypatch.setattr(originals, "WINDOW_ROWS", 5)
    monkeypatch.setattr(originals, "GAP", 0)
    store.asked.clear()
    places = [(i % 3, 1000 * i, 10) for i in range(100)]
    reading = read_originals(store, rows(places))
    next(reading)
    assert len(store.asked) <= 10
    assert len(list(reading)) == 99


def test_what_is_missing_or_changed_is_told(store):
    with pytest.raises(CorpusError, match=r"000007\.tar is missing, but its records exist"):
        list(read_originals(store, rows([(7, 0, 10)])))
    record = {"shard": 1, "id": "ab", "sha256": "0" * 64}
    said = "000001.tar changed: ab no longer has the SHA-256"
    with pytest.raises(CorpusError, match=re.escape(said)):
        check_original(b"other", record, store)
