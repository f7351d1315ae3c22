"""What the benchmarks of the duplicate search plant, and that both peers find the same pairs."""

import numpy as np
import pytest

from nucleus_data.stages.dedup.groups import group_equal
from nucleus_data.stages.dedup.search import iterate_near_pairs
from scripts import bench_dedup
from scripts.bench_dedup import DISTANCE, HOT_CODES, planted


@pytest.mark.slow
def test_codes_are_near_ones_hot_ones_and_uniform_ones():
    codes = planted(20_000)
    assert (codes == planted(20_000)).all()
    near, hot = 1600, 100
    assert codes[near : near + hot].max() < HOT_CODES
    distances = np.bitwise_count(codes[:near, None] ^ codes[None, near:]).min(axis=1)
    assert (distances <= DISTANCE).mean() > 0.98  # some are near a code that a hot one replaced


def test_a_join_finds_as_many_pairs_as_the_search():
    codes = group_equal(planted(3000)).codes
    pairs = sum(len(first) for first, *_ in iterate_near_pairs(codes, DISTANCE))
    assert pairs > 200
    assert bench_dedup.duckdb_join(codes)[1] == pairs


@pytest.mark.slow
def test_a_corpus_of_tables_alone_is_compared_as_a_whole(tmp_path):
    from scripts import bench_dedup_corpus  # with Ray, which no test above needs

    corpus = bench_dedup_corpus.make_corpus(tmp_path / "corpus", 20_000)
    seconds, pairs = bench_dedup_corpus.run_once(corpus, "memory", 20_000, 1)
    assert set(seconds) == {"all"}
    assert pairs > 1000
