import numpy as np
import pytest

from nucleus_data.stages.dedup.groups import group_equal


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 5, 40_000])
def test_group_equal_is_a_stable_sort(count, threads):
    rng = np.random.default_rng(count)
    codes = rng.integers(0, 2**64, count, dtype=np.uint64)
    codes[count // 2 :] = rng.integers(0, 9, count - count // 2).astype(np.uint64) << np.uint64(60)
    groups = group_equal(codes, threads)
    np.testing.assert_array_equal(groups.codes, np.unique(codes))
    np.testing.assert_array_equal(groups.order, np.argsort(codes, kind="stable"))
    group = np.empty(len(codes), np.int64)  # of each code
    group[groups.order] = np.repeat(np.arange(len(groups.codes)), np.diff(groups.starts))
    np.testing.assert_array_equal(groups.codes[group], codes)
    assert len(groups.starts) == len(groups.codes) + 1
