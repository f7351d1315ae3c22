import numpy as np
import pytest

from nucleus_data.stages.dedup.pairs import find_duplicates
from scripts import bench_crowds


def test_all_copies_are_near_each_other_and_none_are_equal():
    pairs = find_duplicates(bench_crowds.copies_of_one(60))
    assert pairs.num_rows == 60 * 59 // 2
    assert not any(pairs["exact"].to_pylist())
    assert np.count_nonzero(pairs["distance256"].to_numpy() == 0) == 0


@pytest.mark.slow
def test_both_ways_are_measured_and_decide_alike():
    size = bench_crowds.Size(copies=(1500,), stored=1500, rounds=1)
    found = {row.name: row.value for row in bench_crowds.rows(size)}
    listed, every = (
        found[f"1,500 near copies, {how}: rows"] for how in (bench_crowds.LISTED, bench_crowds.ALL)
    )
    assert listed < every
    assert every == pytest.approx(1500 * 1499 / 2, rel=1e-3)
    assert found["1,500 near copies, listed: kept"] == found["1,500 near copies, all pairs: kept"]
