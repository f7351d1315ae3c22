"""How many shards an actor is given: without Ray, by the actor's own class in threads."""

import queue
import threading
from collections import deque

import pytest

from nucleus_data.runner.actor import StageActor
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stage import Row
from nucleus_data.stages.caption import stage as caption
from nucleus_data.stages.caption.settings import CaptionSettings
from tests.support.captions.standin import StandIn
from tests.support.captions.unchecked import OFF
from tests.support.curated import picture
from tests.support.quick import quick


@pytest.fixture(scope="module")
def pool():
    from nucleus_data.runner import pool  # it imports Ray

    return pool


def given(pool, items, takes):
    """The shards that an actor with nothing to do is given."""
    load, waiting = pool.Load(takes), deque(items)
    while waiting and load.has_room(waiting[0]):
        load.items.append(waiting.popleft())
    return [item.number for item in load.items]


@pytest.mark.parametrize(
    ("rows", "takes", "shards"),
    [
        *((600, 64, 2), (60, 64, 3), (6, 64, 22), (2, 64, 64), (1, 64, 128), (None, 64, 2)),
        *((5, 1, 2), (1, 256, 512), (2, 256, 256), (1, 1024, 512), (0, 1, 2)),
    ],
)
def test_an_actor_gets_twice_the_rows_that_its_stage_works_on(pool, rows, takes, shards):
    found = given(pool, [Item(n, rows=rows) for n in range(2000)], takes)
    assert len(found) == shards
    if rows and shards < pool.MOST_SHARDS:
        assert shards * rows >= 2 * takes
    assert len(found) < pool.most_shards(takes) + 1, "the actor has a thread for each, and one more"


def test_what_was_at_hand_when_a_worker_died_has_little_company(pool):
    few = [Item(n, rows=1) for n in range(40)]
    suspects = [Item(100 + n, rows=1, deaths=1) for n in range(40)]
    assert given(pool, [*suspects, *few], 64) == [100, 101]
    assert given(pool, [few[0], *suspects, *few], 64) == [0, 100]
    assert len(given(pool, [*few, *suspects], 64)) == 40
    assert pool.SHARDS_PER_ACTOR == 2


class Shard:
    """A shard as the actor sees it: some rows, one caption each."""

    def __init__(self, number, rows):
        self.number, self.count, self.found = number, rows, []
        self.summary = Summary()
        self.todo = type("Todo", (), {"num_rows": rows})

    @property
    def complete(self):
        return len(self.found) == self.count

    def rows(self):
        for number in range(self.count):
            wanted = frozenset({"caption.a"})
            identity = f"{self.number:016x}{number:016x}"
            yield Row(self.number, number, identity, "f.png", PICTURE, {}, wanted)

    def accept(self, outcome):
        self.found.append(outcome)

    def took(self, stage):
        self.summary.extra.update(stage.counted())

    def commit(self):
        self.summary.done = len(self.found)
        return self.summary


PICTURE = picture(1)


@pytest.mark.slow
@pytest.mark.parametrize("rows", quick([2, 120], 1))
def test_few_rows_a_shard_keep_the_engine_full(pool, monkeypatch, rows):
    settings = CaptionSettings(
        variants={"a": {"prompt": "short"}}, max_in_flight=24, checks=OFF, probes=0
    )
    engine = StandIn(settings, pace_s=0.003)
    monkeypatch.setattr(caption, "load_engine", lambda settings: engine)

    class Job:
        stage = caption.Caption(settings)
        row_timeout_s, cpus = 60, 1

        def open(self, shard, limit):
            return Shard(shard, rows)

    actor = StageActor(Job())
    actor.ready()
    waiting = deque(Item(n, rows=rows) for n in range(240 // rows))
    load, ended, summaries = pool.Load(Job.stage.rows_at_once()), queue.SimpleQueue(), []

    def run(item):
        ended.put((item, actor.run_shard(item.number, None)))

    while waiting or load.items:
        while waiting and load.has_room(waiting[0]):
            load.items.append(waiting.popleft())
            threading.Thread(target=run, args=(load.items[-1],)).start()
        item, summary = ended.get()
        load.items.remove(item)
        summaries.append(summary)
    assert sum(summary.done for summary in summaries) == 240
    busy = engine.held[len(engine.held) // 10 : -len(engine.held) // 4]
    assert sum(busy) / len(busy) >= 0.75 * 24
    assert sum(summary.extra["pictures"] for summary in summaries) == 240
