from collections import Counter

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nucleus_data.stages.ingest.listing import spool
from nucleus_data.stages.ingest.listing.runs import AGAIN, number_repeated, sorted_rows


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.integers(1, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_numbers_are_those_of_counting(tmp_path, values, size):
    rows, found = tmp_path / "rows.parquet", tmp_path / "found.parquet"
    pq.write_table(pa.table({"key": pa.array(sorted(values), pa.string())}), rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "BATCH", size)  # runs lie across batches
        number_repeated(rows, "key", found)
    seen: Counter[str] = Counter()
    wanted = []
    for value in sorted(values):
        if seen[value]:
            wanted.append({"key": value, AGAIN: seen[value]})
        seen[value] += 1
    assert pq.read_table(found).to_pylist() == wanted


def test_rows_are_sorted_by_each_expression(tmp_path):
    target = tmp_path / "sorted.parquet"
    query = "SELECT * FROM (VALUES (1, 2), (0, 5), (1, 3)) t(a, b)"
    with duckdb.connect() as connection:
        sorted_rows(query, ["a", "b DESC"], target, connection)
    assert pq.read_table(target).to_pylist() == [
        {"a": 0, "b": 5},
        {"a": 1, "b": 3},
        {"a": 1, "b": 2},
    ]
