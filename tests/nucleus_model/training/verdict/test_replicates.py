"""How many replicates: Stein's rule and power, against their definitions."""

import numpy as np
import pytest

from nucleus_model.training.verdict.intervals import paired
from nucleus_model.training.verdict.replicates import after_pilot, smallest_detectable, stein


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


def test_what_six_seeds_can_see_is_seen_in_four_of_five() -> None:
    least = smallest_detectable(0.0032, 6)
    rng = np.random.default_rng(0)
    seen = [paired(rng.normal(least, 0.0032, 6)).p < 0.05 for _ in range(2000)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)
    assert smallest_detectable(0.0, 6) == 0


@pytest.mark.parametrize(("pilot", "half_width", "most"), [(1, 0.1, 9), (6, 0.0, 9), (6, 0.1, 5)])
def test_what_is_no_plan_is_refused(pilot: int, half_width: float, most: int) -> None:
    with pytest.raises(ValueError, match="a pilot of 2 or more"):
        stein(0.1, pilot, half_width, most)
