"""Intervals against other routes to the same number, and what they must not say."""

import numpy as np
import pytest

from nucleus_model.training.verdict.intervals import (
    bonferroni,
    crossed,
    holm,
    joint_sign_flips,
    paired,
    unpaired,
)

RNG = np.random.default_rng(5)
A = RNG.normal(1.0, 0.1, 6)
B = A + RNG.normal(0.05, 0.02, 6)


def test_a_paired_interval_is_that_of_scipy() -> None:
    from scipy import stats  # half a second

    found, theirs = paired(B - A), stats.ttest_rel(B, A)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)


def test_seeds_that_are_no_pairs_are_not_compared_as_pairs() -> None:
    from scipy import stats

    found, theirs = unpaired(A, B[:4]), stats.ttest_ind(B[:4], A, equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)


def test_one_picture_less_sure_than_many_and_seeds_alone_bound_it() -> None:
    seeds, pictures = RNG.normal(0, 1, (6, 1)), RNG.normal(0, 3, (1, 40))
    table = 0.5 + seeds + pictures
    new, these = crossed(table), paired(table.mean(axis=1))
    assert new.error > these.error  # other pictures are another chance
    # Without a rest the parts add up: (mean squares of rows and columns) / cells.
    expected = table.mean(axis=1).var(ddof=1) / 6 + table.mean(axis=0).var(ddof=1) / 40
    assert new.error == pytest.approx(np.sqrt(expected), rel=1e-9)
    assert 5 < new.degrees < 45


def test_chance_does_not_make_the_crossed_variance_smaller_than_its_parts() -> None:
    table = RNG.normal(0, 1, (2, 2)) * 0.01 + np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert crossed(table).error > 0


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert bonferroni(0.95, 5) == pytest.approx(0.99)


@pytest.mark.slow
def test_holm_is_that_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for count in (1, 6, 40):
        values = np.round(rng.uniform(0, 1, count) ** 3, 2)  # with ties
        assert holm(values.tolist()) == multipletests(values, method="holm")[1].tolist()


def test_six_replicates_can_be_flipped_to_no_less_than_two_in_64() -> None:
    table = np.stack([np.full(6, 1.0) + np.arange(6) / 100, RNG.normal(0, 1, 6)], axis=1)
    sure, chance = joint_sign_flips(table)
    assert sure == pytest.approx(2 / 64)
    assert chance > sure


def test_many_replicates_are_flipped_by_a_seed() -> None:
    table = RNG.normal(0.9, 1, (18, 3))
    assert joint_sign_flips(table, 1) == joint_sign_flips(table, 1)
    assert max(joint_sign_flips(table, 1)) < 0.05


def test_equal_arms_are_not_different() -> None:
    found = paired(np.zeros(4))
    assert (found.p, found.low, found.high) == (1.0, 0.0, 0.0)
    assert joint_sign_flips(np.zeros((4, 2))) == [1.0, 1.0]


@pytest.mark.parametrize("wrong", [[1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_what_is_no_row_of_numbers_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 2 finite numbers"):
        paired(wrong)
