import json

import numpy as np
import pytest

from nucleus_data.engines.calibration import (
    Calibration,
    calibration_of,
    fit_calibration,
    load_calibration,
    save_calibration,
)
from nucleus_data.errors import RequestError

RNG = np.random.default_rng(0)


def fitted(matched, mismatched, **options):
    return fit_calibration(
        np.asarray(matched), np.asarray(mismatched), model="m", revision="r", **options
    )


def normal(count, middle, seed):
    return np.random.default_rng(seed).normal(middle, 0.1, count)


@pytest.mark.parametrize(
    ("matched", "mismatched"),
    [
        (normal(5000, 0.3, 1), normal(5000, 0.15, 2)),
        (normal(20, 0.3, 1), normal(20, 0.15, 2)),
        (normal(500, 0.15, 1), normal(500, 0.3, 2)),  # the wrong way round
        (np.full(50, 0.2), np.full(50, 0.2)),  # nothing to tell
        (np.linspace(0.5, 0.9, 50), np.linspace(-0.3, 0.2, 50)),  # all can be told
        (np.round(normal(500, 0.3, 1), 1), np.round(normal(500, 0.2, 2), 1)),  # ties
        (normal(100, 3, 1), normal(100, -3, 2)),  # no cosines
        (np.ones(30), -np.ones(30)),
    ],
)
def test_the_map_rises_strictly_from_0_to_1(matched, mismatched):
    found = fitted(matched, mismatched)
    assert (np.diff(found.scores) > 0).all()
    assert (np.diff(found.values) > 0).all()
    assert (found.values[0], found.values[-1]) == (0, 1)
    raw = np.linspace(-1, 1, 401)
    assert (np.diff(found.apply(raw).astype(float)) >= 0).all()
    assert found.apply(np.array([-99.0, 99.0])).tolist() == [0, 1]


def test_it_is_the_probability_for_the_assumed_share():
    matched, mismatched = normal(40_000, 0.3, 1), normal(40_000, 0.15, 2)
    raw = np.array([0.1, 0.2, 0.225, 0.3])
    odds = np.exp((raw - 0.225) * 15)  # of two normal distributions
    for prior in (0.5, 0.9):
        here = odds * prior / (1 - prior)
        found = fitted(matched, mismatched, prior=prior)
        assert found.apply(raw) == pytest.approx(here / (1 + here), abs=0.05)
    # However many of each kind there are.
    fewer = fitted(matched[:4000], mismatched)
    assert fewer.apply(raw) == pytest.approx(odds / (1 + odds), abs=0.06)


def test_a_missing_score_stays_missing_and_a_threshold_has_its_raw_score():
    found = fitted(normal(500, 0.3, 1), normal(500, 0.15, 2))
    said = found.apply(np.array([0.2, np.nan], np.float32))
    assert said.dtype == np.float32
    assert np.isnan(said).tolist() == [False, True]
    for value in (0.30, 0.65):
        assert found.apply(np.array([found.raw(value)]))[0] == pytest.approx(value, abs=1e-5)


def test_the_order_of_pairs_changes_nothing():
    matched, mismatched = normal(500, 0.3, 1), normal(500, 0.15, 2)
    assert fitted(matched, mismatched) == fitted(matched[::-1], RNG.permutation(mismatched))


@pytest.mark.parametrize(
    ("matched", "options", "said"),
    [
        (np.zeros(19), {}, "got 19 matched and 30 mismatched pairs; at least 20"),
        (np.full(30, np.nan), {}, "not a finite number"),
        (np.zeros(30), {"prior": 1.0}, "prior must be above 0 and below 1"),
    ],
)
def test_what_can_t_be_fitted_is_refused(matched, options, said):
    with pytest.raises(ValueError, match=said):
        fitted(matched, np.zeros(30), **options)


def test_a_file_says_what_it_was_given(tmp_path):
    found = fitted(normal(500, 0.3, 1), normal(500, 0.15, 2), fitted={"seed": 3})
    save_calibration(found, tmp_path / "deep/c.json")
    again = load_calibration(tmp_path / "deep/c.json")
    assert again == found
    assert again.fitted == {"seed": 3}
    assert calibration_of(found.content()) == found
    # What is noted beside the map changes no hash.
    assert "fitted" not in found.content()


GOOD = Calibration("m", "r", (-1.0, 0.0, 1.0), (0.0, 0.5, 1.0)).content()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": 1}, "unknown key 'extra'; the keys of a calibration are version"),
        ({"model": None}, "missing key 'model'"),
        ({"version": 2}, "version 2 is not supported, only 1"),
        ({"values": [0.0, 0.5]}, "3 scores and 2 values"),
        ({"values": [0.0, 0.5, 0.5]}, "must increase"),
        ({"scores": [0.0, -1.0, 1.0]}, "must increase"),
        ({"values": [0.0, 0.5, 1.5]}, "0 to 1, got 0 to 1.5"),
        ({"values": [0.0, 0.5, float("nan")]}, "finite"),
        ({"scores": "abc"}, "could not convert"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path, change, said):
    content = {k: v for k, v in (GOOD | change).items() if v is not None}
    file = tmp_path / "c.json"
    file.write_text(json.dumps(content))
    with pytest.raises(RequestError, match=said) as caught:
        load_calibration(file)
    assert str(file) in str(caught.value)


def test_no_file_and_no_json_are_said(tmp_path):
    with pytest.raises(RequestError, match="is not a calibration"):
        load_calibration(tmp_path / "none.json")
    (tmp_path / "c.json").write_text("[1]")
    with pytest.raises(RequestError, match="must hold an object, got list"):
        load_calibration(tmp_path / "c.json")


def test_where_a_model_tells_pairs_apart_little_is_between_no_and_yes():
    matched, mismatched = RNG.uniform(0.5, 0.9, 2000), RNG.uniform(-0.3, 0.45, 2000)
    found = fitted(matched, mismatched)
    assert found.apply(mismatched).max() < 0.05
    assert found.apply(matched).min() > 0.95
