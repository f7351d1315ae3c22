"""The bench of the verdict's intervals: a few draws, what it is fitted to, and that it can fail."""

import numpy as np
import pytest

from scripts import bench_verdict_statistics as bench
from scripts.bench_verdict_statistics import SHAPES, Size, coverage, differing, over_pictures
from scripts.benchmark import Measure


def test_an_interval_that_knows_the_seeds_holds_the_truth_and_one_over_pictures_does_not() -> None:
    size = Size(draws=200, resamples=50)
    rng = np.random.default_rng(0)
    shape = SHAPES["skewed"]
    assert coverage(differing(rng, shape, size.draws)) > 90
    assert coverage(over_pictures(rng, shape, size.draws, size.resamples)) < 60


def test_recipes_are_told_apart_on_this_corpus_and_less_surely_on_others() -> None:
    found = list(bench.recipes(np.random.default_rng(0), SHAPES["normal"], 300, 1.0))
    own = np.mean([interval.low <= truth <= interval.high for interval, truth in found])
    others = coverage((interval for interval, _ in found), truth=0.0)
    assert own > 0.9
    assert others < 80


def test_the_model_is_fitted_to_the_lines() -> None:
    fitted = bench.fit()
    assert fitted.pair == pytest.approx(0.00275, rel=0.01)
    assert fitted.seed == pytest.approx(0.00149, rel=0.01)
    assert fitted.correlation.shape == (6, 6)
    assert np.diag(fitted.correlation) == pytest.approx(1)


@pytest.mark.parametrize(("value", "code"), [(94.5, 0), (94.49, 1)])
def test_a_missed_goal_is_an_exit_code(monkeypatch, value, code) -> None:
    rows = [Measure("six", value, "%", ">= 94.5"), Measure("to be read", 1.0, "%")]
    monkeypatch.setattr(bench, "bench", lambda size: rows)
    assert bench.main(["--quick"]) == code
