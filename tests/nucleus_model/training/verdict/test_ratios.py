"""Fieller's interval of a ratio, of pairs and of what are none."""

import numpy as np
import pytest

from nucleus_model.training.verdict.ratios import changes, ratio

RNG = np.random.default_rng(5)
A = RNG.normal(1.0, 0.1, 6)


@pytest.mark.parametrize("pairs", [True, False])
def test_a_ratio_holds_the_true_one(pairs: bool) -> None:
    held = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        a = rng.normal(1.0, 0.1, 6)
        found = ratio(a, 1.31 * 1.0 + rng.normal(0, 0.1, 6), pairs=pairs)
        held += found.low <= 1.31 <= found.high
    assert 275 <= held <= 296


def test_it_is_unbounded_where_the_base_may_be_zero() -> None:
    none = ratio([0.1, -0.1, 0.2, -0.15], [1.0, 1.1, 0.9, 1.0])
    assert (none.low, none.high) == (-np.inf, np.inf)


def test_a_ratio_of_what_is_proportional_is_that_number() -> None:
    found = ratio(A, 1.31 * A)
    assert (found.mean, found.low, found.high) == pytest.approx((1.31, 1.31, 1.31))
    # Seeds that are no pairs know nothing of it.
    apart = ratio(A, 1.31 * A, pairs=False)
    assert apart.low < 1.3 < 1.32 < apart.high


def test_arms_that_are_no_pairs_may_have_other_numbers() -> None:
    assert ratio(A, A[:4], pairs=False).degrees == pytest.approx(8, abs=4)
    with pytest.raises(ValueError, match="must have the same length"):
        ratio(A, A[:4])


@pytest.mark.parametrize("pairs", [True, False])
def test_the_pilots_deviation_is_kept_whatever_comes_after(pairs: bool) -> None:
    a, b = RNG.normal(1.0, 0.1, 8), RNG.normal(1.2, 0.1, 8)
    wild = b.copy()
    wild[-2:] += [5.0, -5.0]  # the same mean
    one, other = (ratio(a, each, pairs=pairs, pilot=6) for each in (b, wild))
    assert (one.low, one.high, one.degrees) == pytest.approx((other.low, other.high, other.degrees))
    assert one.degrees <= (5 if pairs else 10)


def test_a_fall_is_told_as_one() -> None:
    less = ratio([1.0, 1.1, 0.9, 1.0], [0.72, 0.78, 0.66, 0.70])
    (mean, low, high), fewer = changes(less)
    assert fewer
    assert mean == pytest.approx(28.5)
    assert low < mean < high
    (mean, low, high), fewer = changes(ratio([1.0, 1.4, 0.7, 1.0], [1.1, 1.0, 1.2, 1.1]))
    assert not fewer
    assert low < 0 < mean < high  # it may be a fall as well


def test_the_choice_of_pictures_widens_the_ratio_of_what_are_no_pairs() -> None:
    held = {"seeds": 0, "both": 0}
    for seed in range(400):
        rng = np.random.default_rng(seed)
        # Each set's choice moves all of its replicates alike: half of a seed's variance.
        chosen = rng.normal(0, 0.1 * np.sqrt(0.5), 2)
        a, b = rng.normal(1.0 + chosen[0], 0.1, 6), rng.normal(1.31 + chosen[1], 0.1, 6)
        alone = ratio(a, b, pairs=False)
        both = ratio(a, b, pairs=False, drawn=(0.5, 0.5))
        held["seeds"] += alone.low <= 1.31 <= alone.high
        held["both"] += both.low <= 1.31 <= both.high
    assert held["seeds"] < 300
    assert 370 <= held["both"] <= 396
    assert ratio(a, b, drawn=(0.5, 0.5)) == ratio(a, b)
