import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.corpus.dealing import collect, deal
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError

SCHEMA = pa.schema([("n", pa.int64()), ("texts", pa.list_(pa.string()))])


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), max_size=8), min_size=1, max_size=3))
def test_each_reader_finds_its_rows_in_the_order_of_the_files(tmp_path_factory, files):
    store, names, wanted, n = Store(str(tmp_path_factory.mktemp("deal"))), [], {}, 0
    for number, readers in enumerate(files):
        rows = []
        for reader in readers:
            rows.append({"n": n, "texts": ["é"] * reader})
            wanted.setdefault(reader, []).append(rows[-1])
            n += 1
        names.append(f"work/{number}")
        deal(store, names[-1], pa.Table.from_pylist(rows, SCHEMA), np.array(readers, int), 5)
    for reader in range(5):
        found = collect(store, names, reader, 5, SCHEMA)
        assert found.to_pylist() == wanted.get(reader, [])


def test_other_rows_are_refused(tmp_path):
    store = Store(str(tmp_path))
    rows = pa.Table.from_pylist([{"n": 1, "texts": []}], SCHEMA)
    deal(store, "a", rows, np.array([0]), 1)
    deal(store, "a", rows, np.array([0]), 1)
    with pytest.raises(CorpusError, match="contains unexpected rows"):
        deal(store, "a", SCHEMA.empty_table(), np.array([], int), 1)
