import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.hashing import decode_rows, encode_rows

SCHEMA = table_schema(pa.schema([("value", pa.int32())]))


def rows(*numbers, value=0):
    content = [{"shard": 7, "row": n, "id": f"{n:032x}", "value": value} for n in numbers]
    return pa.Table.from_pylist(content, SCHEMA)


@given(st.sets(st.integers(0, 10_000)))
def test_row_ranges_round_trip(numbers):
    array = np.array(sorted(numbers), np.int64)
    assert decode_rows(encode_rows(array)).tolist() == array.tolist()


def test_parts_of_a_shard_never_share_a_row(tmp_path):
    table = Table(Store(str(tmp_path)), "t", "h")
    assert table.append(7, rows(0, 1, 2, value=1), {"tar_size": "5"}) == 3
    assert table.append(7, rows(2, 3, value=2), {}) == 1
    assert table.append(7, rows(0, 3, value=3), {}) == 0
    assert table.part_names() == ["000007-0.parquet", "000007-1.parquet"]
    assert table.covered(7).tolist() == [0, 1, 2, 3]
    assert table.read(7).column("value").to_pylist() == [1, 1, 1, 2]
    footer = next(iter(table.metadata(7)))
    assert footer["rows"] == "0-2"
    assert footer["tar_size"] == "5"
    assert footer["config_hash"] == "h"


def test_racing_writers_lose_no_row_and_repeat_none(tmp_path):
    table = Table(Store(str(tmp_path)), "t", "h")
    chunks = [list(range(i, i + 20)) for i in range(0, 60, 5)]
    counts = []
    threads = [
        threading.Thread(
            target=lambda c=c, i=i: counts.append(table.append(7, rows(*c, value=i), {}))
        )
        for i, c in enumerate(chunks)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = table.read(7).column("row").to_pylist()
    assert everything == sorted(set(everything)) == list(range(75))
    assert sum(counts) == 75


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        Table(Store(str(tmp_path / name)), "t", "h").append(7, rows(1, 2), {"b": "1", "a": "2"})
    files = [next((tmp_path / n).rglob("*.parquet")).read_bytes() for n in ("a", "b")]
    assert files[0] == files[1]
    meta = pq.ParquetFile(pa.BufferReader(files[0])).metadata.row_group(0).column(1)
    assert meta.compression == "ZSTD"
    assert meta.statistics.max == 2


def test_failures_that_may_pass_lie_beside_the_parts(tmp_path):
    table = Table(Store(str(tmp_path)), "t", "h")
    table.failed.append(7, rows(4), {})
    assert table.part_names() == []
    assert table.covered(7).tolist() == []
    assert table.failed.shards() == [7]


def test_rows_with_an_error_are_counted_without_reading_them(tmp_path):
    store = Store(str(tmp_path))
    table = Table(store, "mine", "x")
    keys = [{"shard": 0, "row": n, "id": f"{n:032x}"} for n in range(5)]
    errors = ["a", None, None, "b", None]
    rows = [
        {**k, "error": e, "value": n} for n, (k, e) in enumerate(zip(keys, errors, strict=True))
    ]
    schema = table_schema(pa.schema([("value", pa.int32())]))
    table.append(0, pa.Table.from_pylist(rows[:3], schema), {})
    table.append(0, pa.Table.from_pylist(rows[3:], schema), {})
    assert sum(footer.count("error") for footer in table.footers()) == 2
    other = Table(store, "plain", "x")
    plain = table_schema(pa.schema([("value", pa.int32())]), error=False)
    other.append(0, pa.Table.from_pylist(rows, plain), {})
    assert sum(footer.count("error") for footer in other.footers()) == 0
