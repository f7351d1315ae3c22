"""A pool of model actors: assigns shards to them, and replaces those that die."""

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

# Two shards, so that the next one is read while one is finishing; more of them if they have few
# rows.
SHARDS_PER_ACTOR = 2
# An actor is given so many times the rows that its stage works on at once, so that it does not
# idle.
SHARE = 2
# Maximum shards per actor, as each needs a thread with its tables open. Twice the rows of an engine
# that takes 256 at once, from shards with one row each.
MOST_SHARDS = 512
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


# From a reference, its item, and the queue of items to retry; False if the worker died.
Settle = Callable[[Any, Item, deque[Item]], bool]


@dataclass(eq=False)
class Load:
    """The shards that one actor is processing.

    Attributes:
        takes: Number of rows that the stage works on at once.
        items: The shards; one whose rows were not counted counts as `takes` rows.
    """

    takes: int
    items: list[Item] = field(default_factory=list)

    def has_room(self, item: Item) -> bool:
        """Whether the actor should get another shard.

        A shard that was in flight when a worker died may be the cause. It shares an actor with few
        others, as these would be guarded, too, if it kills another worker.
        """
        count = len(self.items)
        suspect = item.deaths or any(running.deaths for running in self.items)
        if count < SHARDS_PER_ACTOR or suspect:
            return count < SHARDS_PER_ACTOR
        rows = sum(self.takes if running.rows is None else running.rows for running in self.items)
        return count < most_shards(self.takes) and rows < SHARE * self.takes


def most_shards(takes: int) -> int:
    """Returns the maximum number of shards for an actor whose stage works on so many rows."""
    return min(MOST_SHARDS, max(SHARDS_PER_ACTOR, SHARE * takes))


def maker(attempts: Attempts, reference: Any, resources: Resources) -> Callable[[], Any]:
    """Returns a function that starts an actor for some work.

    Args:
        attempts: Holds the work: a row stage's job, or a model task.
        reference: Reference to the work in Ray's object store.
        resources: Resources of each actor.
    """
    options = {"max_restarts": 0, "max_task_retries": 0, **resources.ray_options()}
    if isinstance(attempts.work, StageJob):
        calls = most_shards(attempts.work.stage.rows_at_once()) + 1  # one for `ready`
        rows = ray.remote(StageActor).options(max_concurrency=calls, **options)
        return lambda: rows.remote(reference, told.remembered())
    task, name = ray.remote(TaskActor).options(**options), attempts.report.stage
    return lambda: task.remote(reference, told.remembered(), name)


class ActorPool:
    """A pool of model actors, each with enough shards to keep it busy; dead ones are replaced.

    More actors may be requested than fit, which makes a cluster scale up, so an actor gets shards
    only when it is ready.

    Args:
        attempts: Counts outcomes; its work is a row stage's job, or a model task.
        reference: Reference to the work in Ray's object store.
        resources: Resources of each actor.
        settle: Handles an item's outcome; returns False if its worker died.
    """

    def __init__(
        self, attempts: Attempts, reference: Any, resources: Resources, settle: Settle
    ) -> None:
        self.attempts = attempts
        self.settle = settle
        self.actors = resources.actors
        work = attempts.work
        # An actor of a task processes one item while the next one waits.
        self.takes = work.stage.rows_at_once() if isinstance(work, StageJob) else 0
        self.make = maker(attempts, reference, resources)
        self.starting: dict[Any, Any] = {}
        self.load: dict[Any, Load] = {}
        self.running: dict[Any, tuple[Item, Any]] = {}
        self.failed_starts = 0

    def run(self, items: Iterable[Item]) -> None:
        """Processes the items, except those that have to run guarded."""
        pending = iter(items)
        again: deque[Item] = deque()
        first = next(pending, None)
        if first is None:
            return
        # The first item was taken before starting actors, so that no model is loaded for nothing.
        again.append(first)
        for _ in range(self.actors):
            self._start()
        try:
            self._work(pending, again)
        finally:
            for actor in [*self.starting.values(), *self.load]:
                ray.kill(actor)

    def _work(self, pending: Any, again: deque[Item]) -> None:
        """Assigns shards to actors that are ready, until none are left or the run stops."""
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
        """Handles one outcome; replaces the actor if it died."""
        item, actor = self.running.pop(reference)
        if self.settle(reference, item, again):
            if actor in self.load:
                self.load[actor].items.remove(item)
        elif actor in self.load:
            del self.load[actor]
            ray.kill(actor)
            self._start()
        else:
            self.attempts.report.deaths -= 1  # count the death once, however many shards it had

    def _start(self) -> None:
        actor = self.make()
        self.starting[actor.ready.remote()] = actor

    def _started(self, reference: Any) -> None:
        """Adds an actor that is ready, or replaces it if it died. Raises SetupFailedError."""
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
