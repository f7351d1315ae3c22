"""The draw against the formula, written down a second time, and against what it promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import chdtrc

from nucleus_data.hashing import order_unit
from nucleus_data.stages.select.draw import drawn, places, probabilities, size_ranks, stepped
from nucleus_data.stages.select.fit import fitted, sketched

SHAPE = {"reach": 1.75, "variance": 1.0, "temperature": 0.7}
SHARES = (0.31, 0.27, 0.20, 0.14, 0.08)  # of tiers A1 to A5, as published
COUNT = 50_000


def formula(z, variance=1.0, temperature=0.7):
    """p(B = k) of one place, as the recipe writes it."""
    centres = [-1.75 + 0.5 * k for k in range(8)]
    powers = [math.exp(-((z - mu) ** 2) / (2 * variance) / temperature) for mu in centres]
    return [power / sum(powers) for power in powers]


def units(count, seed=0):
    return np.array([order_unit(f"curriculum:{seed}:", f"{i:032x}") for i in range(count)])


def alike(count=COUNT):
    """Tiers and sizes of a corpus like the published one, sizes rising with quality a little."""
    chance = np.random.default_rng(5)
    tiers = chance.choice(np.arange(1, 6), count, p=SHARES)
    return tiers, np.round(2 ** (19.5 + 0.1 * tiers + chance.normal(0, 1.2, count)))


@given(st.floats(-6, 6), st.floats(0.2, 3), st.floats(0.1, 3))
def test_the_probabilities_are_those_of_the_formula(z, variance, temperature):
    found = probabilities(np.array([z]), reach=1.75, variance=variance, temperature=temperature)
    assert found[0] == pytest.approx(formula(z, variance, temperature), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("z", [-3.0, -1.2, 0.0, 0.1, 2.2])
def test_the_draw_keeps_to_the_formula(z):
    unit = units(20_000)
    found = drawn(probabilities(np.full(len(unit), z), **SHAPE), unit)
    expected = np.array(formula(z)) * len(unit)
    counts = np.bincount(found, minlength=9)[1:]
    enough = expected >= 5
    merged = [np.append(x[enough], x[~enough].sum()) for x in (counts, expected)]
    seen, meant = (x[merged[1] > 0] for x in merged)
    # The p-value of a chi-square test; scipy.stats takes half a second to import.
    assert chdtrc(len(seen) - 1, ((seen - meant) ** 2 / meant).sum()) > 0.01


def test_another_seed_is_another_draw_of_the_same_formula():
    chances = probabilities(np.zeros(20_000), **SHAPE)
    one, other = (drawn(chances, units(20_000, seed)) for seed in (0, 1))
    # Independent draws agree as often as two of the same distribution do.
    assert (one == other).mean() == pytest.approx(sum(p * p for p in formula(0)), abs=0.01)


@given(st.lists(st.floats(-4, 4), min_size=2, max_size=30), st.floats(0, 1, exclude_max=True))
def test_no_record_falls_by_rising(z, unit):
    chances = probabilities(np.sort(z), **SHAPE)
    assert (np.diff(drawn(chances, np.full(len(z), unit))) >= 0).all()
    mean = chances @ np.arange(1, 9)
    assert (np.diff(mean) >= -1e-12).all()  # nor does its mean bucket, but for rounding


@given(st.floats(-1e9, 1e9), st.sampled_from([0.0, 1 - 2**-52]))
def test_there_is_no_ninth_bucket_and_no_nought(z, unit):
    assert 1 <= drawn(probabilities(np.array([z]), **SHAPE), np.array([unit]))[0] <= 8


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20))
def test_steps_keep_the_order_and_are_small(sizes):
    given = np.sort(sizes)
    found = stepped(given)
    assert (np.diff(found) >= 0).all()
    assert (found <= given).all()
    assert (given - found <= np.abs(given) / 32).all()
    assert (stepped(found) == found).all()


def test_a_size_has_the_share_of_those_below_it_and_half_of_its_equals():
    sizes = np.array([1.0, 1.0, 1.0, 1.0, 64.0, 64.0, 256.0, 256.0])
    fit = fitted(sketched(np.array([1, 2] * 4), sizes), "score", (0.0, 1.0), "size", 0.5)
    asked = np.array([0.5, 1, 64, 100, 256, 9999])
    ranks = size_ranks(asked, fit.sizes, fit.ranks)
    assert ranks[[0, 1, 2, 4, 5]].tolist() == [0.25, 0.25, 0.625, 0.875, 0.875]
    assert 0.625 < ranks[3] < 0.875


def shares(z, tiers, sizes):
    """(8,) share of each bucket; (8,) of the worst and of the best tenth of places."""
    found = drawn(probabilities(z, **SHAPE), units(len(z)))
    order = np.argsort(z, kind="stable")
    tenth = len(z) // 10

    def filling(of):
        return np.bincount(of, minlength=9)[1:] / len(of)

    return filling(found), filling(found[order[:tenth]]), filling(found[order[-tenth:]])


@pytest.mark.slow
def test_b1_is_the_low_end_and_b8_the_high_end():
    tiers, sizes = alike()
    fit = fitted(sketched(tiers, sizes), "score", (5.0, 5.5, 6.0, 6.5, 6.8), "pixels", 0.6)
    z = fit.standardised(tiers, sizes)
    assert (z.mean(), z.std()) == pytest.approx((0, 1), abs=1e-9)
    filling, worst, best = shares(z, tiers, sizes)
    assert worst.argmax() == 0
    assert best.argmax() == 7
    assert filling.min() > 0.05  # no bucket is empty
    found = drawn(probabilities(z, **SHAPE), units(len(z)))
    means = [z[found == k].mean() for k in range(1, 9)]
    assert (np.diff(means) > 0.1).all()
    assert np.mean(tiers[found == 1]) < 1.9 < 2.9 < np.mean(tiers[found == 8])


@pytest.mark.slow
def test_as_published_the_worst_would_be_in_the_middle():
    """Why places are standardised: z in 0..1 against centres from -1.75 to 1.75."""
    tiers, sizes = alike()
    fit = fitted(sketched(tiers, sizes), "score", (5.0, 5.5, 6.0, 6.5, 6.8), "pixels", 0.6)
    z = places(tiers, size_ranks(sizes, fit.sizes, fit.ranks), 5, 0.6)
    assert 0 <= z.min() < z.max() <= 1
    filling, worst, _ = shares(z, tiers, sizes)
    assert filling[0] < 0.03
    assert set(np.argsort(worst)[-2:] + 1) == {4, 5}
