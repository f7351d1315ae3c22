"""What a comparison will take, from counts and from small runs that are timed."""

import time

import numpy as np
import pyarrow as pa
import pytest

from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict import forecast as module
from nucleus_model.training.verdict.forecast import (
    Costs,
    Forecast,
    _fewer,
    _of_run,
    passes,
    pictures_taken,
)
from nucleus_model.training.verdict.plan import PICTURES, Arm, Planned, plan_comparison
from tests.support.model import colored_items, write_set

COSTS = Costs(3.0, {"a": 1.0, "b": 1.0}, 0.5, {"a": 0.01, "b": 0.02}, 0.005)


def planned(count, other=0, preset="debug"):
    rows = [
        {
            "id": f"{n:032x}",
            "width": 96 if n < other else 64,
            "height": 64,
            "a": True,
            "b": True,
            "reference": n < 10,
            "memory": "seen" if n >= count - 6 else "unseen" if n < 10 else None,
        }
        for n in range(count)
    ]
    return Planned(
        VerdictSettings(preset=preset, half_width=0.01),
        {},
        {},
        pa.Table.from_pylist(rows, PICTURES),
    )


def test_pictures_are_counted_as_they_are_taken():
    # 40 steps of 16; an epoch of 32 has two whole batches.
    assert pictures_taken(planned(32)) == 640
    # One of 20 has a batch of 16 and one of 4.
    assert pictures_taken(planned(20)) == 20 * 20
    # Two buckets, of 8 and 16.
    assert pictures_taken(planned(24, other=8)) == 20 * 24


def test_pictures_are_counted_as_they_are_measured():
    whole = planned(32)
    assert passes(whole) == 3 * 10 + 6
    few = _fewer(whole, 4)
    assert passes(few) == 3 * 4 + 4
    # What is trained on stays.
    assert pictures_taken(few) == pictures_taken(whole)
    assert few.pictures.schema == whole.pictures.schema


def test_people_are_told_of_all_runs_and_of_those_that_may_come():
    assert _of_run(COSTS, "b", 100, 40) == pytest.approx(0.5 + 2.0 + 0.2)
    found = Forecast(12, 366.0, 24, 700.0, COSTS)
    assert found.sentence() == (
        "12 runs will take 6.1 min of processor time, 30 s each; all 24 runs that the "
        "half-width may require would take 11.7 min"
    )
    assert "half-width" not in Forecast(12, 36.0, 12, 36.0, COSTS).sentence()


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_foreseen_is_what_it_takes_give_or_take_35_percent(tmp_path):
    from nucleus_model.training.verdict.compare import compare
    from nucleus_model.training.verdict.loops import one_by_one

    sets = {"a": colored_items(96), "b": colored_items(88), "r": colored_items(24, first=200)}
    a, b, reference = (Arm(str(write_set(tmp_path / name, items))) for name, items in sets.items())
    settings = VerdictSettings(preset="debug", replicates=3, pictures=24)
    found = module.forecast(plan_comparison(a, b, settings, reference), workers=1)
    took = []

    def timed(specs):
        begun = time.process_time()
        yield from one_by_one(specs)
        took.append(time.process_time() - begun)

    compare(a, b, tmp_path / "out", settings, reference=reference, loop=timed)
    # A busy machine's caches make more of a difference than the calculation does.
    assert found.processor_seconds == pytest.approx(np.sum(took), rel=0.35)
