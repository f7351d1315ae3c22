"""Evidence from many captions together: how far they fall short, and what is so by chance."""

import math
import random

import pytest

from nucleus_data.stages.caption.truth.collective import at_least, shortfall

LABELS = [("cat", "dog", "bird", "fish", "tree")[number % 5] for number in range(30)]
TEXTS = [f"{number} {word * 3} by a {word} of {number}" for number, word in enumerate(LABELS)]


def rotated(texts, by=1):
    return texts[by:] + texts[:by]


@pytest.mark.parametrize("alone", [LABELS, TEXTS])
def test_equal_texts_fall_short_of_nothing_and_those_of_others_of_much(alone):
    assert shortfall(alone, alone) < -4
    assert shortfall(rotated(alone), alone) > 2.5
    mixed = [own if number % 2 else other for number, (own, other) in paired(alone)]
    assert -2 < shortfall(mixed, alone) < 2


def paired(alone):
    return enumerate(zip(alone, rotated(alone), strict=True))


def test_texts_that_all_differ_but_resemble_their_own_are_right():
    assert shortfall([f"perhaps {text}" for text in TEXTS], TEXTS) < -4


def test_common_answers_that_agree_by_chance_are_not_enough():
    mixed = random.Random(1).sample(LABELS, len(LABELS))
    assert sum(one == other for one, other in zip(mixed, LABELS, strict=True)) > 2
    assert shortfall(mixed, LABELS) > 3


def test_nothing_is_known_of_one_picture_or_of_one_answer_for_all():
    assert shortfall([], []) == shortfall(["a cat"], ["a dog"]) == 0
    assert shortfall(["no"] * 20, ["no"] * 20) == 0
    assert shortfall(["no"] * 20, ["no"] * 19 + ["yes"]) < 2
    assert shortfall(["yes"] * 20, ["no"] * 20) == 0


def test_the_chance_of_so_many_of_some_events():
    assert at_least([], 0) == 1
    assert at_least([0.5, 0.5, 0.5], 3) == pytest.approx(1 / 8)
    assert at_least([0.1, 0.2], 1) == pytest.approx(1 - 0.9 * 0.8)
    binomial = sum(math.comb(9, k) * 0.2**k * 0.8 ** (9 - k) for k in range(4, 10))
    assert at_least([0.2] * 9, 4) == pytest.approx(binomial)
