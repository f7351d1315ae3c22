"""Model actors of a stage: which of them gets which shard, and what becomes of one that dies."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import exceptions as gone

from nucleus_data.corpus import told
from nucleus_data.runner.actor import SetupFailedError, StageActor, TaskActor
from nucleus_data.runner.attempts import Attempts
from nucleus_data.runner.cluster import wait_for
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import Item, Resources

# Two shards, so that the next one is read while one ends; more of them where they have few rows.
SHARDS_PER_ACTOR = 2
# Each is a thread of the actor, which has its tables open.
MOST_SHARDS = 64
# A stage that is given as many rows as it works on has none left when it has done one of them.
SHARE = 2
ACTOR_STARTS = 5
WAIT_S = 0.5
DEATHS = (
    gone.WorkerCrashedError,
    gone.ActorDiedError,
    gone.ActorUnavailableError,
    gone.NodeDiedError,
    gone.OutOfMemoryError,
    gone.LocalRayletDiedError,
)


# Reference and item, and where the item goes if it is to be done again.
Settle = Callable[[Any, Item, deque[Item]], bool]


@dataclass(eq=False)
class Load:
    """The shards that one actor is at.

    Attributes:
        takes: Rows that the stage works on at once.
        items: The shards; one that was not counted is as large as need be.
    """

    takes: int
    items: list[Item] = field(default_factory=list)

    def has_room(self, item: Item) -> bool:
        """Whether the actor should get a shard, too.

        A shard that was at hand when a worker died may be the cause, so it has little company: who
        shares its next death is guarded with it.
        """
        count = len(self.items)
        suspect = item.deaths or any(one.deaths for one in self.items)
        if count < SHARDS_PER_ACTOR or suspect:
            return count < SHARDS_PER_ACTOR
        rows = sum(self.takes if one.rows is None else one.rows for one in self.items)
        return count < MOST_SHARDS and rows < SHARE * self.takes


def maker(attempts: Attempts, reference: Any, resources: Resources) -> Callable[[], Any]:
    """What starts an actor for some work.

    Args:
        attempts: Has the work: a row stage's job, or a model task.
        reference: Of the work, in Ray's store.
        resources: What each actor gets.
    """
    options = {"max_restarts": 0, "max_task_retries": 0, **resources.ray_options()}
    if isinstance(attempts.work, StageJob):
        rows = ray.remote(StageActor).options(max_concurrency=MOST_SHARDS + 1, **options)
        return lambda: rows.remote(reference, told.remembered())
    task, name = ray.remote(TaskActor).options(**options), attempts.report.stage
    return lambda: task.remote(reference, told.remembered(), name)


class ActorPool:
    """Model actors, each with as many shards as keep it busy; a dead one is replaced.

    Asking for more actors than fit is how a cluster scales up, so an actor gets shards only once it
    is ready.

    Args:
        attempts: Counts what becomes of the items; its work is a row stage's, or a model task.
        reference: Of the work, in Ray's store.
        resources: What each actor gets.
        settle: Takes an item's outcome; False if its worker died.
    """

    def __init__(
        self, attempts: Attempts, reference: Any, resources: Resources, settle: Settle
    ) -> None:
        self.attempts = attempts
        self.settle = settle
        self.actors = resources.actors
        work = attempts.work
        # Of a task, one item is done and the next one waits.
        self.takes = work.stage.rows_at_once() if isinstance(work, StageJob) else 0
        self.make = maker(attempts, reference, resources)
        self.starting: dict[Any, Any] = {}
        self.load: dict[Any, Load] = {}
        self.running: dict[Any, tuple[Item, Any]] = {}
        self.failed_starts = 0

    def run(self, items: Iterable[Item]) -> None:
        """Does the items, but for those that must run guarded."""
        pending = iter(items)
        again: deque[Item] = deque()
        first = next(pending, None)
        if first is None:
            return
        # Looked at before any actor starts: no model is loaded when there is nothing to do.
        again.append(first)
        for _ in range(self.actors):
            self._start()
        try:
            self._work(pending, again)
        finally:
            for actor in [*self.starting.values(), *self.load]:
                ray.kill(actor)

    def _work(self, pending: Any, again: deque[Item]) -> None:
        """Hands shards to actors that are ready, until none is left or the run stops."""
        exhausted = False
        while True:
            for actor, load in self.load.items():
                while not self.attempts.stop:
                    if not again and (item := next(pending, None)) is not None:
                        again.append(item)
                    exhausted = not again
                    if not again or not load.has_room(again[0]):
                        break
                    item = again.popleft()
                    self.running[actor.run_shard.remote(item.number, item.limit)] = (item, actor)
                    load.items.append(item)
            if not self.running and not again and (exhausted or self.attempts.stop):
                return
            if self.attempts.stop and not self.running:
                return
            for reference in wait_for([*self.starting, *self.running], WAIT_S):
                if reference in self.starting:
                    self._started(reference)
                else:
                    self._settle(reference, again)

    def _settle(self, reference: Any, again: deque[Item]) -> None:
        """Takes one outcome; an actor that died is replaced."""
        item, actor = self.running.pop(reference)
        if self.settle(reference, item, again):
            if actor in self.load:
                self.load[actor].items.remove(item)
        elif actor in self.load:
            del self.load[actor]
            ray.kill(actor)
            self._start()
        else:
            self.attempts.report.deaths -= 1  # it died once, whatever it had at hand

    def _start(self) -> None:
        actor = self.make()
        self.starting[actor.ready.remote()] = actor

    def _started(self, reference: Any) -> None:
        """Takes an actor that is ready, or starts another if it died. Raises SetupFailedError."""
        actor = self.starting.pop(reference)
        try:
            seconds = ray.get(reference)
        except DEATHS as error:
            self.failed_starts += 1
            if self.failed_starts >= ACTOR_STARTS:
                message = f"{ACTOR_STARTS} actors died while starting; the last: {error}"
                raise SetupFailedError(message) from error
            self._start()
            return
        except gone.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if isinstance(cause, SetupFailedError):
                raise cause from None
            raise SetupFailedError(str(cause), str(error)) from None
        self.attempts.report.setup_seconds += seconds
        self.load[actor] = Load(self.takes)
