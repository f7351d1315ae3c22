"""Counts of tables: from footers, as a run left them, and of shards beyond 999,999."""

import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus import counts as module
from nucleus_data.corpus.counts import (
    COUNTS,
    Counts,
    Known,
    count_table,
    counted,
    groups_of,
)
from nucleus_data.corpus.record_counts import parts_of_each_schema, record_count
from nucleus_data.corpus.records import RETRIED_SCHEMA
from nucleus_data.corpus.tables import FAILED_SCHEMA, Table
from nucleus_data.line.counting import count_tables
from nucleus_data.stages.ingest.retry import count_group
from nucleus_data.world.corpora import RECORDS, small_corpus, write_part
from nucleus_data.world.throttled import counted as counted_requests
from nucleus_data.world.throttled import throttled

KEYS = ("shard", "row", "id")


@pytest.fixture
def corpus(tmp_path):
    return small_corpus(tmp_path / "c", shards=0)


def keys(shard, rows):
    ids = [f"{shard}-{row}" for row in rows]
    values = zip([shard] * len(ids), rows, ids, strict=True)
    return [dict(zip(KEYS, each, strict=True)) for each in values]


def measured(shard, rows, errors=()):
    values = [row | {"error": "bad" if row["row"] in errors else None} for row in keys(shard, rows)]
    schema = pa.schema([*(RECORDS.field(n) for n in KEYS), pa.field("error", pa.string())])
    return pa.Table.from_pylist(values, schema)


def records(shard, rows, failed=(), retryable=()):
    values = [
        row
        | {
            "error": "gone" if row["row"] in failed else None,
            "retryable": row["row"] in retryable,
        }
        for row in keys(shard, rows)
    ]
    return pa.Table.from_pylist(values, RECORDS)


def test_a_table_is_counted_with_what_failed_for_now(corpus):
    table = Table(corpus.store, "mine", "aa")
    write_part(table, 3, measured(3, range(5), errors=(1, 2)))
    write_part(table, 1_000_000, measured(1_000_000, range(2)))
    lost = pa.Table.from_pylist(
        [row | {"reason": "x", "detail": ""} for row in keys(3, [4, 5, 6])], FAILED_SCHEMA
    )
    table.failed.append(3, lost, {})
    groups = groups_of(table)
    assert [(group.number, group.shards) for group in groups] == [(0, 1), (1000, 1)]
    assert counted(groups, Known(), count_table) == Counts(7, 2, 2)


def test_what_a_run_left_is_taken_as_long_as_the_parts_are_the_same(corpus):
    table = Table(corpus.store, "mine", "aa")
    write_part(table, 0, measured(0, range(3)))
    (group,) = groups_of(table)
    left = Known({group.key: Counts(41, 2, 1)}, {"x": ["a"]})
    corpus.store.put(f"runs/2026-x/{COUNTS}", left.encode())
    corpus.store.put(f"runs/2026-y/{COUNTS}", b"{")
    known = Known.left(corpus.store)
    assert (known.counts, known.schemas) == (left.counts, left.schemas)
    assert counted([group], known, count_table) == Counts(41, 2, 1)
    write_part(table, 1, measured(1, range(2)))
    assert counted(groups_of(table), known, count_table) == Counts(5)


def test_no_more_footers_are_read_than_allowed(corpus):
    table = Table(corpus.store, "mine", "aa")
    for shard in (0, 1, 1000, 1001, 1002):
        write_part(table, shard, measured(shard, range(2)))
    found = counted(groups_of(table), Known(), count_table, most=4)
    assert found == Counts(rows=4, unknown=3)
    assert module.MOST_SHARDS == 10_000


def test_records_that_a_retry_replaced_count_once(corpus):
    write_part(corpus.records, 0, records(0, range(4), failed=(1, 2, 3), retryable=(1, 2)))
    assert record_count(corpus.records) == 4
    (group,) = groups_of(corpus.records)
    assert (group.lasting, count_group(corpus, group)) == (True, Counts(4, 3, 0))  # no downloads
    marks = [row | {"by": by} for row, by in zip(keys(0, [1, 2]), [1_000_000, 8], strict=True)]
    corpus.records.retried.append(0, pa.Table.from_pylist(marks, RETRIED_SCHEMA), {})
    write_part(corpus.records, 1_000_000, records(1_000_000, [0]))
    first, second = groups_of(corpus.records)
    assert (first.lasting, second.lasting) == (False, True)
    assert count_group(corpus, first) == Counts(3, 2, 0)  # shard 8 is not there yet
    assert count_group(corpus, second) == Counts(1)
    assert record_count(corpus.records) == 4
    assert corpus.shards() == [0, 1_000_000]
    assert corpus.records.superseded(0).tolist() == [1]


def test_of_each_schema_one_part_is_named(corpus):
    for shard in range(3):
        write_part(corpus.records, shard, records(shard, [0]))
    other = records(3, [0]).append_column("source.more", [["x"]])
    write_part(corpus.records, 3, other)
    names = parts_of_each_schema(corpus)
    assert [name.rpartition("/")[2] for name in names] == ["000000-0.parquet", "000003-0.parquet"]


def test_of_equal_names_at_the_end_of_their_paths_each_is_a_schema(corpus):
    for shard, name in enumerate(("source.one", "source.two")):
        rows = records(shard, [0]).append_column(name, pa.array([{"x": 1}]))
        write_part(corpus.records, shard, rows)
    assert len(parts_of_each_schema(corpus)) == 2


def test_a_footer_is_read_once_for_the_count_and_for_the_schema(corpus):
    for shard in range(3):
        write_part(corpus.records, shard, records(shard, [0]))
    url, options = throttled(corpus.store.path(""))
    there = Corpus(url, options)
    with there.store.listing_once():
        (found,) = count_tables(there, [there.records])
        assert found == Counts(3)
        with counted_requests() as requests:
            assert len(parts_of_each_schema(there)) == 1
        assert requests.count() == 0
    with counted_requests() as requests:  # of listings from a moment ago, nothing is kept
        parts_of_each_schema(there)
    assert requests.count("read") == 3
