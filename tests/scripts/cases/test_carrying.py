"""In how many pairs two lengths say the same, and how sure that is."""

import pytest

from scripts.cases.carrying import alike

ORDERED = {name: (float(number), 2.0 * number) for number, name in enumerate("abcdefg")}


def test_equal_orders_are_alike_in_every_draw():
    found = alike("loss", -1, ORDERED, draws=200)
    assert (found.pairs, found.share, found.low, found.high) == (21, 1, 1, 1)
    assert found.order[0] == found.order[1] == list("abcdefg")


def test_turned_orders_are_alike_in_none():
    turned = {name: (short, -long) for name, (short, long) in ORDERED.items()}
    found = alike("caption_gap", 1, turned, draws=200)
    assert (found.share, found.high) == (0, 0)
    assert found.order == (list("gfedcba"), list("abcdefg"))


def test_one_set_that_moves_costs_its_pairs_and_shows_in_the_interval():
    moved = ORDERED | {"a": (0.0, 100.0)}
    found = alike("loss", -1, moved, draws=2000)
    assert found.share == pytest.approx(15 / 21)
    assert found.low < 0.6 < found.share < found.high == 1
