"""From replicates to a sentence."""

import json

import numpy as np
import pytest

from nucleus_model.training.verdict.judge import NAMES, Claim, judge

BASE = {
    "loss": 1.02,
    "low_sigma": 1.3,
    "high_sigma": 0.3,
    "caption_gap": 0.18,
    "empty_gap": 0.1,
    "memorised": -0.01,
}


def arm(seed: int, replicates: int = 6, **changes: float) -> dict[str, np.ndarray]:
    """Replicates around usual values; seeds of both arms share most of their noise."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    return {
        name: value
        + changes.get(name, 0.0)
        + shared.normal(0, 0.02, replicates)
        + own.normal(0, 0.002, replicates)
        for name, value in BASE.items()
    }


def test_better_captions_are_called_so_and_by_how_much() -> None:
    found = judge(arm(1), arm(2, caption_gap=0.056, high_sigma=-0.05, loss=-0.02))
    assert found.word == "better"
    assert found.sentence.startswith("B is better: captions carry 3")
    assert "pictures equal" in found.sentence
    assert found.sentence.endswith("6 seeds")


def test_worse_pictures_are_not_blamed_on_captions() -> None:
    found = judge(arm(1), arm(2, low_sigma=0.1, loss=0.03))
    assert found.word == "worse"
    assert "captions equal, pictures worse (low_sigma +0.0999" in found.sentence


def test_duplicates_are_named() -> None:
    assert "it is memorised more" in judge(arm(1), arm(2, memorised=-0.05)).sentence


def test_of_equals_the_smallest_visible_difference_is_told() -> None:
    found = judge(arm(1), arm(2))
    assert found.word == "no difference"
    assert "the smallest it could see is" in found.sentence
    assert all(finding.direction == 0 for finding in found.findings)


def test_one_way_better_and_another_worse_is_said() -> None:
    found = judge(arm(1), arm(2, caption_gap=0.05, low_sigma=0.1))
    assert found.word == "mixed"
    assert "better in one way and worse in another" in found.sentence


def test_the_arms_change_places() -> None:
    a, b = arm(1), arm(2, caption_gap=0.05)
    one, other = judge(a, b), judge(b, a)
    assert (one.word, other.word) == ("better", "worse")
    for x, y in zip(one.findings, other.findings, strict=True):
        assert x.p == pytest.approx(y.p)
        assert x.interval.low == pytest.approx(-y.interval.high)


def test_what_are_no_pairs_is_judged_more_carefully() -> None:
    a, b = arm(1), arm(2, loss=-0.012)
    assert judge(a, b).word == "better"
    found = judge(a, b, Claim.RECIPES, pairs=False)
    assert found.word == "no difference"
    assert all(finding.p_flips is None for finding in found.findings)


@pytest.mark.slow
def test_the_pilot_decides_the_degrees() -> None:
    a, b = arm(1, 12), arm(2, 12, loss=-0.01)
    assert judge(a, b, pilot=6).findings[0].interval.degrees == 5
    assert judge(a, b).findings[0].interval.degrees == 11


def test_the_json_has_all_measures_and_no_infinity() -> None:
    text = json.dumps(judge(arm(1), arm(2)).as_dict(), allow_nan=False)
    assert [each["measure"]["name"] for each in json.loads(text)["findings"]] == list(NAMES)


def test_a_missing_measure_is_named() -> None:
    a = arm(1)
    del a["empty_gap"]
    with pytest.raises(ValueError, match="a lacks the measures empty_gap"):
        judge(a, arm(2))
