"""What runs left becomes the six measures, each read on the pictures that it is told by."""

import numpy as np
import pytest

from nucleus_model.training.verdict.collect import (
    REFERENCE,
    of_part,
    picture_differences,
    replicates,
    run_table,
    trained_pictures,
)
from nucleus_model.training.verdict.judge import NAMES
from nucleus_model.training.verdict.measures import LossTable


def losses(ids, level):
    shape = (len(ids), 8)
    sigmas = np.tile((np.arange(8) + 0.5) / 8, (len(ids), 1))
    true = np.full(shape, level) + np.arange(len(ids))[:, None] * 0.01
    return LossTable(tuple(ids), sigmas, true, true + 0.2, true + 0.1)


def names(prefix, count):
    return [f"{prefix}{number:03}" for number in range(count)]


def test_a_table_comes_back():
    made = losses(names("r", 3), 1.0)
    found = of_part(run_table(made, losses(["t"], 2.0)), REFERENCE)
    assert found.ids == made.ids
    for name in ("sigmas", "true", "shuffled", "empty"):
        assert np.array_equal(getattr(found, name), getattr(made, name))


def test_what_is_memorised_is_read_on_pictures_of_one_arm_by_both():
    a, b = names("a", 40), names("b", 50)
    trained = trained_pictures(a + names("s", 9), b + names("s", 9), 35)
    assert trained.crossed
    assert (len(trained.a), len(trained.b)) == (35, 35)
    reference = losses(names("r", 4), 1.0)
    level = {"a": {"a": 0.9, "b": 1.0}, "b": {"a": 1.3, "b": 0.7}}

    def table(arm):
        own, other = losses(trained.a, level[arm]["a"]), losses(trained.b, level[arm]["b"])
        joined = LossTable(
            own.ids + other.ids,
            *(
                np.concatenate([getattr(own, n), getattr(other, n)])
                for n in ("sigmas", "true", "shuffled", "empty")
            ),
        )
        return run_table(reference, joined)

    found = replicates({"a": [table("a")] * 2, "b": [table("b")] * 2}, trained)
    assert found["a"]["memorised"] == pytest.approx([0.9 - 1.3] * 2)
    assert found["b"]["memorised"] == pytest.approx([0.7 - 1.0] * 2)
    assert tuple(found["a"]) == NAMES


def test_else_on_shared_pictures_against_the_reference():
    a = names("s", 50)
    trained = trained_pictures(a, a[10:], 20)
    assert not trained.crossed
    assert trained.a == trained.b == tuple(a[10:30])
    made = run_table(losses(["r"], 1.0), losses(trained.ids, 0.5))
    found = replicates({"a": [made], "b": [made]}, trained)
    assert found["a"]["memorised"] == pytest.approx([0.5 + 0.01 * 9.5 - 1.0])


def test_arms_that_share_nothing_and_are_small_are_refused():
    with pytest.raises(ValueError, match="share 0 pictures, and have 9 and 20"):
        trained_pictures(names("a", 9), names("b", 40), 20)


def test_differences_of_pictures_are_b_minus_a():
    one, other = (run_table(losses(["x", "y"], level), losses(["t"], 1)) for level in (1.0, 1.5))
    ids, table = picture_differences({"a": [one, one], "b": [other, other]})
    assert ids == ["x", "y"]
    assert table == pytest.approx(np.full((2, 2), 0.5))
