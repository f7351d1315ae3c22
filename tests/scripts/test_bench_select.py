"""The benchmark of `select` at its smallest: one shard, decided about by rules and by a walk."""

import pytest

from nucleus_data.corpus.tables import Table
from scripts import bench_select
from scripts.bench_select import ROWS_A_SHARD, Size


@pytest.mark.slow
def test_every_row_of_one_shard(tmp_path, ray_cluster):
    corpus = bench_select.make_corpus(tmp_path / "corpus", ROWS_A_SHARD)
    tables = bench_select.recipe(corpus).pins().tables
    read = ("records", *(name for name in tables if name.startswith("inspect.")))
    assert {Table(corpus.store, name, tables[name]).read(0, ["row"]).num_rows for name in read} == {
        ROWS_A_SHARD
    }
    rows = bench_select.bench(corpus, Size(rows=ROWS_A_SHARD, rounds=1))
    assert [row.goal for row in rows] == ["<= 20", None, "<= 20", None, None]
    assert all(row.value > 0 for row in rows)
