import numpy as np
import pytest

from nucleus_data.corpus.shuffle import MAX_READERS, read_rows, spread, write_rows
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError

KIND = np.dtype([("key", "<u8"), ("value", "<i4")])


def made_rows(seed, count):
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, KIND)
    rows["key"] = rng.integers(0, 40, count)
    rows["value"] = np.arange(count)
    return rows


def test_each_reader_gets_its_rows_of_every_file_in_their_order(tmp_path):
    store = Store(str(tmp_path))
    files = [made_rows(0, 300), made_rows(1, 0), made_rows(2, 50)]
    for number, rows in enumerate(files):
        write_rows(store, f"{number}.rows", rows, spread(rows["key"], 7), 7)
    seen = 0
    for reader in range(7):
        found = read_rows(store, ["0.rows", "1.rows", "2.rows"], reader, 7, KIND)
        expected = np.concatenate([rows[spread(rows["key"], 7) == reader] for rows in files])
        np.testing.assert_array_equal(found, expected)
        seen += len(found)
    assert seen == 350


def test_equal_keys_have_one_reader_and_readers_share_evenly():
    keys = np.arange(70_000, dtype=np.uint64)
    readers = spread(keys, 7)
    np.testing.assert_array_equal(spread(keys[::-1], 7)[::-1], readers)
    counts = np.bincount(readers)
    assert len(counts) == 7
    assert counts.min() > 9_500
    for wrong in (0, MAX_READERS + 1):
        with pytest.raises(ValueError, match="readers must be 1 to"):
            spread(keys, wrong)


def test_a_file_is_written_again_with_the_same_rows_alone(tmp_path):
    store = Store(str(tmp_path))
    rows = made_rows(0, 20)
    for _ in range(2):
        write_rows(store, "a.rows", rows, spread(rows["key"], 3), 3)
    with pytest.raises(CorpusError, match="contains unexpected rows"):
        write_rows(store, "a.rows", made_rows(1, 20), spread(rows["key"], 3), 3)
