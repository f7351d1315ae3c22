"""The sets that a seed's part is measured on, and what is made of their runs."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_model.data.loader import TrainingSet
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict import power
from nucleus_model.training.verdict.collect import run_table
from nucleus_model.training.verdict.measures import LossTable
from nucleus_model.training.verdict.plan import PICTURES, Planned
from nucleus_model.training.verdict.run import LOSSES, RunSpec
from scripts import bench_verdict_power as bench


@pytest.fixture
def arms(tmp_path):
    a = bench.write_set(tmp_path / "a", bench.WORLD, range(8))
    b = bench.write_set(tmp_path / "b", bench.WORLD, range(8), 0.5)
    return {name: TrainingSet(arm.folder).samples for name, arm in (("a", a), ("b", b))}


def test_captions_are_swapped_among_a_share_of_the_same_pictures(arms):
    a, b = arms["a"], arms["b"]
    assert [sample.id for sample in a] == [sample.id for sample in b]
    other = [x.captions != y.captions for x, y in zip(a, b, strict=True)]
    assert sum(other) == 4
    assert sorted(s.captions for s in a) == sorted(s.captions for s in b)


def test_what_seeds_make_is_told_of_pairs_and_of_each_set_alone(tmp_path):
    rows = [
        {"id": ident, "a": True, "b": True, "reference": ident == "x", "memory": memory}
        for ident, memory in (("x", "unseen"), ("y", "unseen"), ("z", "seen"))
    ]
    plan = Planned(VerdictSettings(), {}, {}, pa.Table.from_pylist(rows, PICTURES))
    levels = {"a": [1.0, 1.2, 1.1], "b": [1.1, 1.3, 1.2]}
    sigmas = (np.arange(8)[None] + 0.5) / 8
    for arm, of in levels.items():
        for number, level in enumerate(of):
            folder = RunSpec(str(tmp_path), arm, number).folder
            folder.mkdir(parents=True)
            true = np.full((1, 8), level)
            one, others = (
                LossTable(ids, *(np.repeat(v, len(ids), 0) for v in (sigmas, true, true, true)))
                for ids in (("x",), ("y", "z"))
            )
            pq.write_table(run_table(one, others), folder / LOSSES)
    assert bench.spread(tmp_path, plan, pairs=True).percent == pytest.approx(0, abs=1e-9)
    alone = bench.spread(tmp_path, plan, pairs=False)
    assert alone.percent == pytest.approx(100 * 0.1 * 2**0.5 / 1.1)
    assert alone.replicates == 3


def test_what_is_stored_of_nano_is_what_the_self_test_measured():
    found = bench.of_self_test("nano")
    for name, equal in ((power.EQUAL, True), (power.OTHER, False)):
        known = power.stored("nano", equal=equal)
        assert known.percent == pytest.approx(found[name].percent, rel=0.005)
        assert (known.replicates, known.comparisons) == (6, found[name].comparisons)
    assert not bench.of_self_test("debug")  # too few of its comparisons have the same pictures
