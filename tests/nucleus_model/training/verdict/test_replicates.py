"""How many replicates: Stein's rule and power, against their definitions."""

import numpy as np
import pytest

from nucleus_model.training.verdict.intervals import paired, unpaired
from nucleus_model.training.verdict.replicates import (
    after_pilot,
    after_pilots,
    detectable,
    pilot_deviation,
    stein,
)


def test_a_noisy_pilot_asks_for_more_and_never_beyond_the_budget() -> None:
    from scipy import stats  # half a second

    t = stats.t.ppf(0.975, 5)
    assert stein(0.01, 6, 0.01 * t / np.sqrt(19.9), 99) == 20
    assert stein(0.01, 6, 1.0, 99) == 6
    assert stein(0.01, 6, 1e-6, 30) == 30


def test_the_pilots_deviation_is_kept_whatever_comes_after() -> None:
    pilot = [1.0, 1.2, 0.9, 1.1, 1.0, 0.8]
    calm, wild = (
        after_pilot(np.array([*pilot, 1.0, 1.0]), 6),
        after_pilot(np.array([*pilot, 9, -7]), 6),
    )
    assert calm.error == wild.error == pytest.approx(np.std(pilot, ddof=1) / np.sqrt(8))
    assert calm.degrees == 5
    assert after_pilot(np.array(pilot), 6) == paired(pilot)


def test_of_what_are_no_pairs_both_pilots_are_kept() -> None:
    a, b = np.random.default_rng(1).normal(1.0, 0.1, (2, 9))
    wild = b.copy()
    wild[-2:] += [7.0, -7.0]
    assert after_pilots(a, b, 6) == after_pilots(a, wild, 6)
    assert after_pilots(a[:6], b[:6], 6) == unpaired(a[:6], b[:6])
    assert pilot_deviation(a, b, pairs=True) == pytest.approx((b - a).std(ddof=1))
    assert pilot_deviation(a, a, pairs=False) == pytest.approx(np.sqrt(2) * a.std(ddof=1))


@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 6])
@pytest.mark.parametrize("degrees", [2, 5, 9.3, 23])
def test_power_is_the_share_of_noncentral_t_beyond_the_critical_value(
    level: float, degrees: float
) -> None:
    from scipy import stats  # half a second

    # statsmodels' solver is a factor of 1.7 too low at 2 degrees and the stricter level.
    critical = stats.t.ppf((1 + level) / 2, degrees)
    least = detectable(1.0, degrees, level)
    assert stats.nct.sf(critical, degrees, least) == pytest.approx(0.8, abs=1e-4)
    assert detectable(0.0, degrees) == 0


def test_what_six_seeds_can_see_is_seen_in_four_of_five() -> None:
    least = detectable(0.0032 / np.sqrt(6), 5)
    rng = np.random.default_rng(0)
    seen = [paired(rng.normal(least, 0.0032, 6)).p < 0.05 for _ in range(2000)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("pilot", "half_width", "most"), [(1, 0.1, 9), (6, 0.0, 9), (6, 0.1, 5)])
def test_what_is_no_plan_is_refused(pilot: int, half_width: float, most: int) -> None:
    with pytest.raises(ValueError, match="pilot must be at least 2"):
        stein(0.1, pilot, half_width, most)
