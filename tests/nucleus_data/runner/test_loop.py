"""The runner on a real local Ray: outcomes, deaths, hangs, guarded shards, actors, retries."""

import pytest

from nucleus_data.runner.actor import SetupFailedError
from nucleus_data.world.corpora import small_corpus
from tests.support.model_task import Noting
from tests.support.on_ray import ALL, job, run, values

# Ray takes some eight seconds to start and to end; `test_inline` and `test_local` ask the same.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("actors", "hold"), [(0, 0), (2, 3), (2, 0), (0, 3)])
def test_every_row_once_in_order(tmp_path, ray_cluster, actors, hold):
    corpus = small_corpus(tmp_path / "c")
    report = run(job(corpus, hold=hold), 3, actors=actors, num_cpus=0.5)
    assert (report.summary.done, report.shards, report.failed) == (15, 3, [])
    assert values(corpus, 3) == ALL
    again = run(job(corpus), 3)
    assert (again.summary.already, again.summary.done) == (15, 0)


@pytest.mark.parametrize("actors", [0, 1])
def test_a_row_on_which_the_stage_raises_costs_itself(tmp_path, ray_cluster, actors):
    corpus = small_corpus(tmp_path / "c", shards=1)
    report = run(job(corpus, poison="raise"), 1, actors=actors)
    assert report.failed == []
    assert (report.summary.failed, report.summary.retryable) == ({"stage_raised": 1}, 1)
    assert [row for row, _, _ in values(corpus, 1)[0]] == [0, 1, 2, 4]
    assert run(job(corpus, retry=True), 1).summary.done == 1


def test_a_model_is_loaded_once_an_actor_and_by_who_comes_for_a_dead_one(tmp_path, ray_cluster):
    task = Noting(str(tmp_path), kills=3)
    report = run(task, 8, actors=2, num_cpus=0.5)
    assert (report.summary.done, report.shards, report.deaths, report.failed) == (8, 8, 1, [])
    # The one that comes for the dead one may come when all is done.
    assert len(task.notes("loads")) in (2, 3)
    assert len(set(task.notes("loads"))) == len(task.notes("loads"))
    assert set(task.notes("does")) <= set(task.notes("loads"))
    assert len(task.notes("does")) >= 8
    # Without actors, tasks do it, and nobody loads anything ahead.
    tasks = Noting(str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    assert run(tasks, 3).summary.done == 3
    assert tasks.notes("loads") == []


def test_a_model_that_cannot_be_loaded_ends_the_run(tmp_path, ray_cluster):
    with pytest.raises(SetupFailedError, match="can't be set up: ImportError: no such library"):
        run(Noting(str(tmp_path), broken=True), 3, actors=1)
