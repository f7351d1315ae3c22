"""The loop in a worker of this machine: the guards of Ray's workers, without Ray."""

import time
from dataclasses import replace

import psutil
import pytest

from nucleus_data.errors import DiskFullError
from nucleus_data.runner.actor import SetupFailedError
from nucleus_data.runner.cluster import LocalSettings, RaySettings
from nucleus_data.runner.inline import InlineLoop
from nucleus_data.runner.local import LocalLoop, LocalWorker
from nucleus_data.runner.work import Item, Resources, Size, Summary
from nucleus_data.runner.workers import Workers
from nucleus_data.world.corpora import small_corpus
from tests.support.commands import tree
from tests.support.on_ray import ALL, job, values
from tests.support.stages import LoadsOnce, Modelled, Nothing


class Raises:
    """A task that raises on one number."""

    def __init__(self, error):
        self.error = error

    def run(self, number):
        if number == 1:
            raise self.error
        return Summary(rows=1, done=1)


class Slow:
    """A task that takes longer than the time between two looks at it."""

    def run(self, number):
        time.sleep(0.3)
        return Summary(rows=1, done=1)


@pytest.fixture
def worker():
    made = LocalWorker()
    yield made
    made.close()


def run(worker, work, items):
    return LocalLoop(worker, "length", work, Resources()).run(
        [Item(n) for n in range(items)], items
    )


@pytest.mark.slow
def test_the_bytes_are_those_of_the_loop_in_this_process(tmp_path, worker):
    here, there = small_corpus(tmp_path / "here"), small_corpus(tmp_path / "there")
    report = run(worker, job(there, hold=3), 3)
    InlineLoop("length", job(here, hold=3), Resources()).run(Item(n) for n in range(3))
    assert (report.summary.done, report.shards, report.failed) == (15, 3, [])
    assert values(there, 3) == ALL
    assert tree(tmp_path / "here") == tree(tmp_path / "there")
    first = worker._child.pid
    again = run(worker, job(there), 3)
    assert (again.summary.already, again.summary.done) == (15, 0)
    assert worker._child.pid == first
    worker.close()
    assert not psutil.pid_exists(first)


@pytest.mark.slow
def test_a_model_has_a_process_of_its_own(tmp_path, worker):
    """vLLM does not start where numba or open_clip ran."""
    corpus = small_corpus(tmp_path / "c", shards=2)
    run(worker, Raises(ZeroDivisionError()), 1)
    first = worker._child.pid
    asked = replace(job(corpus), stage=Modelled(Nothing()))
    assert run(worker, asked, 2).summary.done == 10
    assert worker._child is None
    assert not psutil.pid_exists(first)


@pytest.mark.slow
def test_a_model_that_raised_is_loaded_again_in_a_new_process(tmp_path, worker):
    corpus = small_corpus(tmp_path / "c", shards=2)
    asked = replace(job(corpus), stage=LoadsOnce(Nothing(poison="raise")))
    report = run(worker, asked, 2)
    assert (report.failed, report.summary.failed) == ([], {"stage_raised": 2})
    assert report.summary.done == 8


@pytest.mark.slow
def test_who_waits_is_called_until_an_item_is_done(worker, monkeypatch):
    monkeypatch.setattr("nucleus_data.runner.local.TELL_S", 0.05)
    calls = []
    assert worker.do(Slow(), Item(0), lambda: calls.append(worker._child.pid)).done == 1
    assert len(calls) >= 3


def test_no_process_starts_where_there_is_nothing_to_do(tmp_path, worker):
    corpus = small_corpus(tmp_path / "c", shards=1)
    InlineLoop("length", job(corpus), Resources()).run([Item(0)])
    assert run(worker, job(corpus, poison="no_setup"), 1).summary.already == 5
    assert worker._child is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        ("raise", "stage_raised"),
        ("kill", "killed_sigkill"),
        ("hang", "killed_timeout"),
    ],
)
def test_a_picture_that_kills_costs_itself_alone(tmp_path, worker, poison, reason):
    corpus = small_corpus(tmp_path / "c", shards=1)
    report = run(worker, job(corpus, poison=poison, timeout=2.0), 1)
    assert report.failed == []
    assert (report.summary.failed, report.summary.retryable) == ({reason: 1}, 1)
    assert report.deaths == 2
    assert [row for row, _, _ in values(corpus, 1)[0]] == [0, 1, 2, 4]


@pytest.mark.slow
def test_what_is_raised_has_its_class_here(tmp_path, worker):
    report = run(worker, Raises(ZeroDivisionError("first line\nsecond")), 3)
    assert [(f.number, f.error) for f in report.failed] == [(1, "ZeroDivisionError: first line")]
    assert "raise self.error" in report.failed[0].traceback
    assert report.shards == 2
    full = run(worker, Raises(DiskFullError("no space is left")), 3)
    assert (full.shards, [f.number for f in full.failed]) == (1, [1])
    corpus = small_corpus(tmp_path / "c", shards=1)
    with pytest.raises(SetupFailedError, match=r"^length can't be set up: OSError: the model is"):
        run(worker, job(corpus, poison="no_setup"), 1)


@pytest.mark.parametrize(
    ("items", "rows", "here", "change"),
    [
        (1, 8, True, {}),
        (8, 1000, True, {}),
        (9, 8, False, {}),
        (1, 1001, False, {}),
        (1, 8, True, {"resources": Resources(actors=1)}),
        (1, 8, False, {"resources": Resources(actors=2)}),
        (1, 8, False, {"resources": Resources(num_gpus=1)}),
        (1, 8, False, {"address": "auto"}),
        (1, 8, False, {"RAY_ADDRESS": "head:6379"}),
        (1, 8, False, {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}),
        (1, 8, False, {"local": LocalSettings(items=0)}),
    ],
)
def test_which_work_is_small(items, rows, here, change, monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
        monkeypatch.delenv(name, raising=False)
        if name in change:
            monkeypatch.setenv(name, change.pop(name))
    monkeypatch.setattr("nucleus_data.runner.workers.is_initialized", lambda: False)
    resources = change.pop("resources", Resources())
    with Workers(RaySettings(**change)) as workers:
        assert workers.does_here(resources, Size(items, lambda most: rows)) is here
