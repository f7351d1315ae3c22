from collections import Counter
from itertools import islice

import pytest

from nucleus_model.data.feed import Cursor, batch_plans, draw_caption, of_phase, plan_epoch
from nucleus_model.data.loader import Sample
from nucleus_model.settings.settings import QuickTrainSettings


def sample(number, bucket=(64, 64), aspect="1x1", captions=("a", "b"), sources=("web", "x:long")):
    return Sample(f"{number:032x}", "t", 0, 1, captions, sources, aspect, *bucket, (0, 0, 1, 1))


START = Cursor()
SAMPLES = [sample(n) for n in range(10)] + [sample(n, (96, 48), "2x1") for n in range(10, 17)]


def settings(**values):
    return QuickTrainSettings.model_validate({"batch_size": 4, **values})


def taken(count, start=START, **values):
    made = settings(**values)
    return list(islice(batch_plans(SAMPLES, made.plan()[0], made, start), count))


def test_every_sample_once_an_epoch_and_epochs_without_end():
    found = taken(12)
    assert [plan.cursor.epoch for plan in found] == [0] * 5 + [1] * 5 + [2] * 2
    for part in (found[:5], found[5:10]):
        ids = Counter(item.id for plan in part for item in plan.samples)
        assert ids == Counter(item.id for item in SAMPLES)
    assert [plan.samples for plan in found[:5]] != [plan.samples for plan in found[5:10]]


@pytest.mark.parametrize("done", [0, 1, 4, 5, 7])
def test_from_any_place_it_goes_on_as_it_would_have(done):
    whole = taken(12)
    start = whole[done - 1].after if done else Cursor()
    assert taken(12 - done, start) == whole[done:]


def test_a_phase_has_its_aspects_and_captions():
    (phase,) = settings(aspects=["2x1"]).plan()
    assert of_phase(SAMPLES, phase) == SAMPLES[10:]
    (phase,) = settings(captions={"long": 1}).plan()
    bare = sample(99, captions=("a",), sources=("web",))
    assert of_phase([*SAMPLES, bare], phase) == SAMPLES
    made = settings(aspects=["9x9"])
    assert list(batch_plans(SAMPLES, made.plan()[0], made, Cursor())) == []


def test_captions_are_drawn_by_weight():
    item = sample(3)
    weights = {"web": 1.0, "long": 3.0}
    drawn = Counter(draw_caption(item, 0, epoch, 0.2, weights) for epoch in range(2000))
    assert drawn[""] == pytest.approx(400, abs=80)
    assert drawn["b"] / drawn["a"] == pytest.approx(3, rel=0.2)
    only = {draw_caption(item, 0, epoch, 0.0, {"web": 1.0}) for epoch in range(100)}
    assert only == {"a"}


def test_the_order_does_not_depend_on_that_of_the_samples():
    for batch_size in (3, 5):
        one, other = (
            plan_epoch(items, seed=1, epoch=2, batch_size=batch_size)
            for items in (SAMPLES, SAMPLES[::-1])
        )
        assert one == other


def test_captions_are_drawn_evenly_and_dropped_by_share():
    item = sample(0)
    drawn = Counter(draw_caption(item, 0, number, 0.25) for number in range(2000))
    assert drawn[""] == pytest.approx(500, abs=80)
    assert drawn["a"] == pytest.approx(750, abs=100)
    assert drawn["b"] == pytest.approx(750, abs=100)
    assert draw_caption(item, 0, 5, 1.0) == ""
    assert draw_caption(item, 3, 5, 0.5) == draw_caption(item, 3, 5, 0.5)
