"""The benchmark of `score` at its smallest: two shards, scored again with other heads."""

import pytest

from scripts import bench_score
from scripts.bench_score import ROWS_A_SHARD, Size


@pytest.mark.slow
def test_every_row_of_two_shards(tmp_path, ray_cluster):
    rows = 2 * ROWS_A_SHARD
    corpus = bench_score.make_corpus(tmp_path / "corpus", rows)
    measures = bench_score.bench(corpus, Size(rows=rows, rounds=1))
    assert [row.goal for row in measures] == ["<= 20", None, None]
    assert all(row.value > 0 for row in measures)
