"""The chance of which pictures a set has."""

import numpy as np
import pytest

from nucleus_model.training.verdict.drawn import note, stored, weights
from nucleus_model.training.verdict.findings import JOINT
from nucleus_model.training.verdict.intervals import unpaired
from nucleus_model.training.verdict.judge import NAMES
from nucleus_model.training.verdict.replicates import after_pilots


def test_sets_without_a_common_picture_add_the_stored_share_of_a_seed_s_variance():
    known, measured = stored("debug")
    assert measured
    alone = {"both": 0, "a_only": known.pictures, "b_only": 4 * known.pictures}
    a, b = weights(known, alone)
    assert a == pytest.approx(known.share)
    assert b == pytest.approx(known.share / 4), "it falls as sets grow"


def test_pictures_in_both_sets_add_nothing():
    known, _ = stored("debug")
    assert weights(known, {"both": 500, "a_only": 0, "b_only": 0}) == (0.0, 0.0)
    a, b = weights(known, {"both": 300, "a_only": 200, "b_only": 0})
    assert (a, b) == (pytest.approx(known.share * known.pictures * 200 / 500**2), 0.0)


def test_another_preset_takes_over_what_was_measured_and_says_so():
    assert stored("nano") == (stored("debug")[0], False)
    assert "in debug, and taken over for nano" in note("nano")
    assert "taken over" not in note("debug")


def by_the_pilots(a, b, level, drawn=(0.0, 0.0)):
    return after_pilots(a, b, 6, level, drawn)


@pytest.mark.parametrize("interval", [unpaired, by_the_pilots])
def test_what_is_added_widens_the_interval_and_leaves_its_degrees(interval):
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 6), rng.normal(0, 2, 6)
    plain, wider = interval(a, b, 0.95), interval(a, b, 0.95, (1 / 6, 1 / 6))
    assert wider.degrees == pytest.approx(plain.degrees)
    assert wider.error == pytest.approx(2**0.5 * plain.error)


@pytest.mark.slow
def test_equal_sets_whose_pictures_differ_by_chance_are_told_apart_as_seldom_as_said():
    """Sets whose choice adds what is stored: by seeds alone more alarms than the level says."""
    known, _ = stored("debug")
    drawn = weights(known, {"both": 0, "a_only": known.pictures, "b_only": known.pictures})
    rng, count = np.random.default_rng(8), 1200
    alarms = {"seeds": 0, "both": 0}
    for _ in range(count):
        sets = rng.normal(0, known.share**0.5, (2, len(NAMES), 1))
        runs = 100 + sets + rng.normal(0, 1, (2, len(NAMES), 6))
        for name, added in (("seeds", (0.0, 0.0)), ("both", drawn)):
            found = [unpaired(a, b, JOINT, added).p for a, b in zip(*runs, strict=True)]
            # Holm's first step, the only one that matters to whether there is any alarm.
            alarms[name] += min(found) * len(NAMES) < 0.05
    assert alarms["both"] <= 0.06 * count < alarms["seeds"], alarms
