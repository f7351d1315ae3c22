"""Footers of many parts: one request each, and columns by ranges."""

import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus import footers as module
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.footers import read_ending, read_ranges
from nucleus_data.corpus.tables import FAILED_SCHEMA, Table
from nucleus_data.world.corpora import small_corpus, write_part
from nucleus_data.world.throttled import counted, throttled


def rows(shard, errors, first=0):
    count = len(errors)
    return pa.table(
        {
            "shard": pa.array([shard] * count, pa.int32()),
            "row": pa.array(range(first, first + count), pa.int32()),
            "id": [f"{shard}-{n}" for n in range(count)],
            "value": list(range(count)),
            "error": pa.array(errors, pa.string()),
            "retryable": pa.array([error == "slow" for error in errors]),
        }
    )


@pytest.fixture
def corpus(tmp_path):
    return small_corpus(tmp_path / "c", shards=0)


def test_a_footer_is_one_request_and_tells_rows_and_errors(corpus):
    table = Table(corpus.store, "mine", "aa")
    write_part(table, 5, rows(5, [None, "bad", "slow"]))
    write_part(table, 1_000_000, rows(1_000_000, [None, None]))
    url, options = throttled(corpus.store.path(""))
    there = Table(Corpus(url, options).store, "mine", "aa")
    with counted() as requests:
        low, high = sorted(there.footers(), key=lambda footer: footer.num_rows, reverse=True)
    assert (requests.count("list"), requests.count("read"), requests.count("info")) == (1, 2, 0)
    assert (low.num_rows, low.rows, low.count("error"), low.count("none")) == (3, "0-2", 2, 0)
    assert not low.all_false("retryable")
    assert (high.num_rows, high.count("error"), high.all_false("retryable")) == (2, 0, True)
    assert there.shards() == [5, 1_000_000]
    assert low.schema == high.schema
    found = read_ranges(there.store, low, ["retryable", "none"])
    assert found.to_pydict() == {"retryable": [False, False, True]}


def test_a_footer_that_is_larger_than_what_was_read_is_read_again(corpus, monkeypatch):
    table = Table(corpus.store, "mine", "aa")
    write_part(table, 0, rows(0, [None]))
    monkeypatch.setattr(module, "TAIL", 16)
    assert read_ending(corpus.store, f"{table.folder}/000000-0.parquet").num_rows == 1


def test_parts_that_are_none_are_named(corpus):
    table = Table(corpus.store, "mine", "aa")
    write_part(Table(corpus.store, "mine", "bb"), 0, rows(0, [None]))
    other = corpus.store.read("tables/mine/bb/000000-0.parquet")
    for data, found in ((other, "config_hash"), (b"PAR1", "4 bytes"), (b"", "0 bytes")):
        corpus.store.put(f"{table.folder}/000000-0.parquet", data)
        with pytest.raises(DamagedError, match=rf"mine/aa/000000-0.parquet cannot .*{found}"):
            list(table.footers())
    assert list(table.footers(["000007-0.parquet"])) == []  # removed since it was listed


def test_failures_that_may_pass_have_footers_too(corpus):
    table = Table(corpus.store, "mine", "aa")
    lost = rows(0, [None]).select(["shard", "row", "id"])
    for name in ("reason", "detail"):
        lost = lost.append_column(name, [["x"]])
    table.failed.append(0, lost.cast(FAILED_SCHEMA), {})
    assert [footer.rows for footer in table.failed.footers()] == ["0"]
