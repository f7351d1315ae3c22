"""The bench of the verdict's intervals: a few draws, and that it can fail."""

import numpy as np

from scripts.bench_verdict_statistics import SHAPES, Size, coverage, differing, over_pictures


def test_an_interval_that_knows_the_seeds_holds_the_truth_and_one_over_pictures_does_not() -> None:
    size = Size(draws=200, resamples=50)
    rng = np.random.default_rng(0)
    shape = SHAPES["skewed"]
    assert coverage(differing(rng, shape, size.draws)) > 90
    assert coverage(over_pictures(rng, shape, size.draws, size.resamples)) < 60
