"""Runs of a comparison as tasks of Ray."""

import pytest

from nucleus_data.errors import RequestError, StoppedError
from nucleus_data.stages.train import replicates
from nucleus_data.stages.train.replicates import RayRuns
from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.loops import one_by_one
from nucleus_model.training.verdict.plan import Arm, plan_comparison
from nucleus_model.training.verdict.run import LOSSES, RunSpec, write_plan
from tests.support import dying
from tests.support.model import colored_items, write_set

SETTINGS = VerdictSettings(preset="debug", replicates=3, pictures=4, holdout_share=0.3)


def specs_in(out, sets, count=1):
    """The plan of a comparison in a folder, and its first runs."""
    write_plan(plan_comparison(*sets, SETTINGS), out)
    return [RunSpec(str(out), arm, n) for n in range(count) for arm in ("a", "b")]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    items = colored_items(24)
    return [Arm(str(write_set(root / n, of))) for n, of in (("a", items), ("b", items[3:]))]


def test_nothing_to_do_starts_no_ray():
    assert list(RayRuns(lambda: pytest.fail("it connects"))([])) == []


def test_a_machine_that_does_not_see_the_folder_says_so(tmp_path):
    with pytest.raises(
        RequestError, match=r"cannot access the folder .*; set --out to a folder that"
    ):
        replicates.run_remotely(RunSpec(str(tmp_path), "a", 0), {})


@pytest.mark.slow
def test_tasks_leave_the_bytes_of_this_process_even_where_workers_die(
    sets, tmp_path, monkeypatch, ray_cluster
):
    here, there = tmp_path / "here", tmp_path / "there"
    assert len(list(one_by_one(specs_in(here, sets)))) == 2
    monkeypatch.setattr(replicates, "run_remotely", dying.run_remotely)
    specs = specs_in(there, sets)
    (there / dying.DEATHS).write_text("1")
    runs = RayRuns(lambda: None)(specs)
    first = next(runs)
    runs.close()  # nobody waits any more
    left = [spec for spec in specs if not spec.done]
    done = [first, *RayRuns(lambda: None)(left)]
    assert {spec.arm for spec in done} == {"a", "b"}
    assert len(list(there.glob(f"{dying.MARK}*"))) >= 1
    for spec, other in zip(specs_in(here, sets), specs, strict=True):
        assert (spec.folder / LOSSES).read_bytes() == (other.folder / LOSSES).read_bytes()


@pytest.mark.slow
def test_what_ends_a_run_ends_the_comparison(sets, tmp_path, monkeypatch, ray_cluster):
    specs = specs_in(tmp_path, sets)
    gone = [RunSpec(str(tmp_path / "elsewhere"), "a", 0)]
    with pytest.raises(RequestError, match="cannot access the folder"):
        list(RayRuns(lambda: None)(gone))
    monkeypatch.setattr(replicates, "run_remotely", dying.run_remotely)
    (tmp_path / dying.DEATHS).write_text("100")
    with pytest.raises(
        StoppedError, match=r"its worker died 3 times .* run the same command again to continue"
    ):
        list(RayRuns(lambda: None)(specs[:1]))
    assert not specs[0].done
