"""What runs left becomes the six measures, each read on the pictures that it is told by."""

from dataclasses import replace

import numpy as np
import pytest

from nucleus_model.training.verdict.collect import (
    REFERENCE,
    memory_pictures,
    memory_variance,
    of_part,
    picture_differences,
    replicates,
    run_table,
)
from nucleus_model.training.verdict.intervals import paired, widened
from nucleus_model.training.verdict.judge import NAMES
from nucleus_model.training.verdict.measures import LossTable, joined


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


def both(*tables):
    """Losses of several lots of pictures as one table."""
    return joined([losses(ids, level) for ids, level in tables])


def test_what_is_memorised_is_read_on_as_many_pictures_of_each_arm():
    a, b, s = names("a", 40), names("b", 50), names("s", 9)
    held = names("c", 8), names("d", 5)
    memory = memory_pictures(([*a, *s], [*b, *s]), held, [], 70)
    assert memory.crossed
    assert memory.seen == (*a[:35], *b[:35])
    assert memory.unseen == (*held[0][:5], *held[1])
    reference = losses(names("r", 4), 1.0)
    # B is worse throughout, and has memorised nothing more for that.
    tables = {
        arm: [run_table(reference, both((memory.seen, 0.9 + more), (memory.unseen, 1.2 + more)))]
        for arm, more in (("a", 0.0), ("b", 0.3))
    }
    found = replicates(tables, memory)
    expected = 0.9 + 0.01 * 34.5 - (1.2 + 0.01 * 4.5)
    assert found["a"]["memorised"] == pytest.approx([expected])
    assert found["b"]["memorised"] == pytest.approx([expected])
    assert tuple(found["a"]) == NAMES


def test_else_on_pictures_that_both_have():
    s, held = names("s", 50), names("h", 9)
    memory = memory_pictures((s, s[10:]), (held, held[2:]), [], 20)
    assert not memory.crossed
    assert (memory.seen, memory.unseen) == (tuple(s[10:30]), tuple(held[2:]))
    # Some of the unseen are reference pictures as well, and are measured once.
    made = run_table(losses(held[:4], 1.0), both((memory.seen, 0.5), (held[4:], 0.8)))
    found = replicates({"a": [made], "b": [made]}, memory)
    unseen = np.mean([1.02, 1.03, *(0.8 + 0.01 * np.arange(5))])
    assert found["a"]["memorised"] == pytest.approx([0.5 + 0.01 * 9.5 - unseen])


def test_of_small_sets_the_reference_is_the_unseen():
    for held in ([], ["x"]):
        memory = memory_pictures((names("s", 9), names("s", 9)), (held, held), ["r", "t"], 20)
        assert memory.unseen == ("r", "t")


def test_arms_that_share_nothing_and_are_small_are_refused():
    with pytest.raises(ValueError, match="share 0 pictures, and have 9 and 40"):
        memory_pictures((names("a", 9), names("b", 40)), (["x", "y"], ["x", "y"]), [], 20)


def test_the_choice_of_pictures_adds_its_variance():
    rng = np.random.default_rng(0)
    memory = memory_pictures((names("s", 30),) * 2, (names("u", 20),) * 2, [], 40)
    levels = {ident: rng.normal() for ident in memory.ids}
    none = losses(["r"], 1.0)

    def table(arm):
        made = both((memory.ids, 1.0))
        more = np.array([[levels[ident]] for ident in memory.ids]) * (arm == "b")
        return run_table(none, replace(made, true=made.true + more))

    variance, degrees = memory_variance({arm: [table(arm)] * 3 for arm in "ab"}, memory)
    seen, unseen = (np.array([levels[i] for i in ids]) for ids in (memory.seen, memory.unseen))
    parts = [seen.var(ddof=1) / 30, unseen.var(ddof=1) / 20]
    assert variance == pytest.approx(sum(parts))
    assert degrees == pytest.approx(variance**2 / (parts[0] ** 2 / 29 + parts[1] ** 2 / 19))


@pytest.mark.slow
def test_equal_runs_on_other_pictures_do_not_alarm():
    """Each picture has a difference of its own, which all seeds see: seeds alone are too sure."""
    rng = np.random.default_rng(1)
    memory = memory_pictures((names("s", 40),) * 2, (names("u", 40),) * 2, [], 40)
    none, alarms = losses(["r"], 1.0), {"seeds": 0, "both": 0}
    for _ in range(12):
        own = rng.normal(0, 0.05, (len(memory.ids), 1))

        def table(arm, own=own):
            made = both((memory.ids, 1.0))
            return run_table(
                none, replace(made, true=made.true + own * (arm == "b") + rng.normal(0, 0.002))
            )

        tables = {arm: [table(arm) for _ in range(6)] for arm in "ab"}
        values = replicates(tables, memory)
        interval = paired(values["b"]["memorised"] - values["a"]["memorised"])
        alarms["seeds"] += interval.p < 0.05
        alarms["both"] += widened(interval, *memory_variance(tables, memory), 0.95).p < 0.05
    assert alarms["seeds"] >= 9
    assert alarms["both"] <= 2


def test_differences_of_pictures_are_b_minus_a():
    one, other = (run_table(losses(["x", "y"], level), losses(["t"], 1)) for level in (1.0, 1.5))
    ids, table = picture_differences({"a": [one, one], "b": [other, other]})
    assert ids == ["x", "y"]
    assert table == pytest.approx(np.full((2, 2), 0.5))
