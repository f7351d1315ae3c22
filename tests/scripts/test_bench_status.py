"""The benchmark of `status` at its smallest."""

import pytest

from scripts import bench_status
from scripts.bench_status import Size


@pytest.mark.slow
def test_the_status_of_few_shards(tmp_path):
    rows = list(bench_status.bench(tmp_path, Size((6,), 1)))
    assert [row.goal for row in rows] == ["<= 1.5", None, None, None, None] * 2
    assert all(row.value > 0 for row in rows)
    requests, in_a_row, at_once = (row.value for row in rows[2:5])
    assert requests > in_a_row
    assert at_once > 1
