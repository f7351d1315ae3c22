import numpy as np
import pytest

from nucleus_data.engines.agreement import (
    Pairs,
    area_under_curve,
    brier,
    cuts,
    deciles,
    wilson,
)

RNG = np.random.default_rng(0)


def test_the_area_counts_pairs_and_halves_ties():
    pairs = Pairs(np.array([0.2, 0.5, 0.5]), np.array([0.1, 0.5]))
    won = [1, 0, 1, 0.5, 1, 0.5]
    assert area_under_curve(pairs) == pytest.approx(np.mean(won))


def test_brier_weighs_each_kind_as_assumed():
    pairs = Pairs(np.array([1.0, 0.5]), np.array([0.5, 0.5, 0.5, 7.0]), prior=0.8)
    assert brier(pairs) == pytest.approx(0.8 * 0.125 + 0.2 * (0.75 + 1) / 4)


def test_wilson_s_interval_is_that_of_the_book():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == pytest.approx(1)


@pytest.mark.parametrize("prior", [0.5, 0.9])
def test_deciles_of_true_probabilities_are_right(prior):
    said = RNG.uniform(0, 1, 80_000)
    truth = RNG.uniform(0, 1, 80_000) < said
    # Of a world of which half matches; at another share the same pairs have other probabilities.
    odds = said / (1 - said) * prior / (1 - prior) * (~truth).sum() / truth.sum()
    said = odds / (1 + odds)
    found = deciles(Pairs(said[truth], said[~truth], prior))
    assert len(found) == 10
    assert sum(group.pairs for group in found) == 80_000
    assert max(group.error for group in found) < 0.02
    inside = [group.low <= group.said <= group.high for group in found]
    assert sum(inside) >= 8
    assert all(group.low < group.observed < group.high for group in found)


def test_cuts_are_counted_and_the_best_is_that_of_all_thresholds():
    pairs = Pairs(np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.1, 0.3, 0.3, 0.7]))
    low, high = cuts(pairs, [0.25, 0.65])
    assert (low.precision, low.recall) == (0.5, 0.25)
    assert (low.best_precision, low.best_recall) == (1.0, 1.0)
    assert (high.precision, high.recall) == (0.5, 0.75)
    assert high.best_precision == 0.75  # below 0.35: three of four, and the same recall
    assert high.best_recall == 1.0


def test_a_threshold_that_takes_nothing_is_never_wrong():
    (cut,) = cuts(Pairs(np.array([0.5]), np.array([0.6])), [0.1])
    assert (cut.precision, cut.recall, cut.best_recall) == (1.0, 0.0, 0.0)
