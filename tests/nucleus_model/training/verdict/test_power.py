"""What a comparison can see, before its runs and after them."""

import json

import pytest

from nucleus_model.settings.text_encoder import TextSettings
from nucleus_model.settings.verdict import FIXED, VerdictSettings
from nucleus_model.training.verdict import power as module
from nucleus_model.training.verdict.findings import JOINT
from nucleus_model.training.verdict.intervals import paired
from nucleus_model.training.verdict.power import power, said, sees, stored


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(
        module, "stored", lambda preset, *, equal: module.Spread(0.3 if equal else 1.3, 5)
    )


def test_every_preset_has_a_figure_with_how_many_seeds_it_stands_on():
    for preset in FIXED:
        equal, other = (stored(preset, equal=equal) for equal in (True, False))
        assert 0 < equal.percent < other.percent  # other pictures hide more
        assert min(equal.replicates, other.replicates) >= 3
    assert stored("none such", equal=True) is None


def test_what_is_seen_is_seen_in_four_of_five_of_six_measures():
    import numpy as np

    least = sees(0.3, 6, pairs=True)
    rng = np.random.default_rng(0)
    seen = [paired(rng.normal(least, 0.3, 6), JOINT).p < 1 - JOINT for _ in range(2000)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)
    assert sees(0.3, 6, pairs=False) < least  # both arms' seeds count
    assert sees(0.3, 12, pairs=True) < least


def test_before_the_runs_the_stored_figure_tells_and_after_them_their_own(known):
    before = power("nano", equal=True, pairs=True, replicates=6, percent=None)
    once = "measured once, on 5 seeds"
    stands_on = {"percent": 0.3, "replicates": 5, "comparisons": 1, "origin": once}
    assert before["before"] == stands_on | {"sees": sees(0.3, 6, pairs=True)}
    assert [row["seeds"] for row in before["by_seeds"]] == [3, 6, 12, 24]
    after = power("nano", equal=True, pairs=True, replicates=7, percent=0.6)
    assert after["before"]["percent"] == 0.3
    by_seeds = {row["seeds"]: row["sees"] for row in after["by_seeds"]}
    assert by_seeds[7] == pytest.approx(sees(0.6, 7, pairs=True))
    json.dumps(after, allow_nan=False)


def test_people_are_told_what_so_many_seeds_see(known):
    text = said("nano", equal=True, pairs=True, replicates=6)
    assert text == (
        f"6 seeds of nano can detect differences of {sees(0.3, 6, pairs=True):.2g} % of the "
        "loss, with equal pictures (measured once, on 5 seeds)"
    )


def test_medians_of_several_comparisons_are_told_as_that():
    assert module.Spread(0.5, 6, 48).origin == "the median of 48 comparisons with 6 seeds"


def test_with_another_text_encoder_nobody_measured_it():
    text = TextSettings(model="models/all-MiniLM-L6-v2", hidden_state=-1)
    assert VerdictSettings().trains == "nano"
    settings = VerdictSettings(text=text)
    assert settings.training(0).text == text
    told = said(settings.trains, equal=True, pairs=True, replicates=6)
    assert "detect with nano with all-MiniLM-L6-v2 and equal pictures is not known" in told


def test_of_a_preset_that_nobody_measured_that_is_said():
    told = said("none such", equal=True, pairs=True, replicates=3)
    assert "what they can detect with none such" in told
    found = power("none such", equal=True, pairs=True, replicates=3, percent=None)
    assert (found["before"], found["by_seeds"]) == (None, [])
