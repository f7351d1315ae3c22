"""Where two arms differ, told of what was planted there."""

import numpy as np
import pytest

from nucleus_model.training.verdict.collect import run_table
from nucleus_model.training.verdict.descriptive import bins, changed_most, curve, groups
from nucleus_model.training.verdict.measures import LossTable

IDS = tuple(f"{number:03}" for number in range(64))


def table(noise, bin_=None, pictures=(), by=0.0):
    draw = np.random.default_rng(noise)
    true = 1 + 0.001 * draw.standard_normal((len(IDS), 8))
    if bin_ is not None:
        true[:, bin_] += by
    true[list(pictures)] += by
    sigmas = np.tile((np.arange(8) + 0.5) / 8, (len(IDS), 1))
    made = LossTable(IDS, sigmas, true, true, true)
    return run_table(made, made)


def test_the_bin_that_differs_is_told():
    tables = {"a": [table(n) for n in range(4)], "b": [table(9 + n, 5, by=0.1) for n in range(4)]}
    rows = bins(tables, pairs=False)
    assert [row.name for row in rows][::7] == ["0 to 0.125", "0.875 to 1"]
    assert [row.low > 0 for row in rows] == [number == 5 for number in range(8)]
    assert rows[5].b - rows[5].a == pytest.approx(0.1, abs=0.01)


def test_groups_below_30_are_hidden():
    tables = {
        "a": [table(n) for n in range(3)],
        "b": [table(9 + n, pictures=range(30), by=-0.1) for n in range(3)],
    }
    group_of = {ident: "stamps" if int(ident) < 30 else "emoji" for ident in IDS}
    stamps, emoji = sorted(groups(tables, group_of, pairs=True), key=lambda row: -row.pictures)[
        ::-1
    ]
    assert (stamps.name, stamps.pictures, emoji.pictures) == ("stamps", 30, 34)
    assert stamps.high < -0.05 < emoji.low
    del group_of["000"]
    assert [row.name for row in groups(tables, group_of, pairs=True)] == ["emoji"]


def test_pictures_that_changed_most_come_first():
    tables = {"a": [table(0)], "b": [table(0, pictures=(7,), by=-0.5)]}
    gained, lost = changed_most(tables)
    assert [change.id for change in gained] == ["007"]
    assert gained[0].difference == pytest.approx(-0.5)
    assert lost == []


def test_a_curve_has_means_at_equal_tokens():
    values = {"a": [[1.0] * 50, [3.0] * 50], "b": [list(range(100))]}
    found = curve(values, range(512, 51 * 512, 512))
    assert len(found.tokens) == 20
    assert found.tokens[-1] == 50 * 512
    assert set(found.mean["a"]) == {2.0}
    assert (found.low["a"][0], found.high["a"][0]) == (1.0, 3.0)
    assert found.mean["b"][-1] == pytest.approx(48.5)
