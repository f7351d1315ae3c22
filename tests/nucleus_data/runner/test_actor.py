import threading
import time
from types import SimpleNamespace

import pytest

from nucleus_data.runner.actor import SetupFailedError, StageActor, StageDiedError
from nucleus_data.runner.work import Summary
from nucleus_data.world.corpora import small_corpus
from tests.support.on_ray import SLOW, job, run


@SLOW
def test_a_setup_that_fails_ends_the_run(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c", shards=1)
    for actors in (0, 1):
        with pytest.raises(SetupFailedError, match="the model is not there"):
            run(job(corpus, poison="no_setup"), 1, actors=actors)


@SLOW
def test_a_stage_that_can_t_go_on_ends_the_run(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c", shards=1)
    for actors in (0, 1):
        with pytest.raises(SetupFailedError, match="all servers are down"):
            run(job(corpus, poison="stop"), 1, actors=actors)


@SLOW
def test_no_model_is_loaded_when_nothing_is_left_to_do(tmp_path, ray_cluster):
    corpus = small_corpus(tmp_path / "c")
    run(job(corpus), 3)
    report = run(job(corpus, poison="no_setup"), 3, actors=1)
    assert (report.summary.already, report.shards, report.failed) == (15, 3, [])


class OneRow:
    """A shard of one row, as an actor sees it."""

    def __init__(self, number):
        self.number, self.complete, self.summary = number, False, Summary()
        self.todo = SimpleNamespace(num_rows=1)

    def rows(self):
        yield SimpleNamespace(shard=self.number)

    def accept(self, outcome):
        self.complete = True

    def took(self, stage):
        pass

    def commit(self):
        assert self.complete
        return self.number


class Counting(StageActor):
    """Counts how often calls look whether the stage lives."""

    checks = 0

    def _check(self):
        self.checks += 1
        super()._check()


@pytest.mark.parametrize("dies", [True, False])
def test_calls_wait_without_polling_and_are_woken_when_the_stage_dies(dies):
    go = threading.Event()

    def process(rows):
        held = []
        for row in rows:
            if row is not None:
                held.append(row)
            elif go.wait(0.01):
                if dies:
                    raise ValueError("no more")
                yield from (SimpleNamespace(row=one) for one in held)
                held = []

    stage = SimpleNamespace(name="held", setup=lambda: None, process=process)
    actor = Counting(
        SimpleNamespace(stage=stage, row_timeout_s=60, cpus=1, open=lambda n, _: OneRow(n))
    )
    actor.ready()
    ended = {}

    def call(number):
        try:
            ended[number] = actor.run_shard(number, None)
        except StageDiedError as error:
            ended[number] = "no more" in str(error)

    calls = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(8)]
    for one in calls:
        one.start()
    while actor.in_flight < len(calls):
        time.sleep(0.01)
    before = actor.checks
    time.sleep(0.02 if dies else 0.25)
    assert actor.checks == before
    go.set()
    for one in calls:
        one.join(10)
    assert ended == {number: True if dies else number for number in range(8)}
    if dies:
        with pytest.raises(StageDiedError):
            actor.run_shard(9, None)
