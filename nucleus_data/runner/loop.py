"""The driver's loop: a bounded window of tasks or actors, with attempts counted here.

It collects failures and shows progress. Only shard numbers go out and summaries under 10 KB come
back. Ray retries nothing (`max_retries=0`, `max_restarts=0`): `attempts` decides.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ray
from ray import exceptions as gone

from nucleus_data.corpus import told
from nucleus_data.runner.actor import SetupFailedError, StageActor
from nucleus_data.runner.attempts import Attempts, do_item
from nucleus_data.runner.cluster import wait_for
from nucleus_data.runner.cwd import stand_somewhere
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import Item, Resources, SharingTask, StageReport, Summary, Task
from nucleus_data.stage import ColumnStage

SHARDS_PER_ACTOR = 2
COUNTED_AHEAD = 8
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


@ray.remote
def _run_task(work: StageJob | Task, item: Item, asked: Mapping[str, told.Asked]) -> Summary:
    """Does one item in a worker process."""
    stand_somewhere()
    told.adopt(asked)
    return do_item(work, item)


@ray.remote(num_cpus=0, max_retries=0)
def _count(job: StageJob | Task, item: Item) -> Summary:
    """The shard's rows, and how many of them have a result; no work."""
    assert isinstance(job, StageJob)
    return job.open(item.number, item.limit).summary


def _columns(work: StageJob) -> bool:
    """Whether it is a column stage's: tasks do it, as actors are fed row by row."""
    return isinstance(work.stage, ColumnStage)


class Loop(Attempts):
    """Runs items to their end.

    Args:
        name: The stage's name, for people.
        work: A row stage's job, or a task.
        resources: What each worker gets: CPUs, GPUs, memory.
        progress: Show a progress bar when the output is a terminal.
    """

    def __init__(
        self, name: str, work: StageJob | Task, resources: Resources, *, progress: bool = True
    ) -> None:
        super().__init__(name, work, progress=progress)
        self.resources = resources
        if isinstance(work, SharingTask):
            work = work.among(resources.workers or max(1, int(self._fitting())))
        self.reference = ray.put(work)

    def run(self, items: Iterable[Item], total: int | None = None) -> StageReport:
        """Does all items, the guarded ones last, and returns what became of them.

        Raises:
            SetupFailedError: The stage could not be set up.
        """
        start = time.perf_counter()
        self.bar.total = total
        try:
            if (
                self.resources.actors
                and isinstance(self.work, StageJob)
                and not _columns(self.work)
            ):
                ActorPool(self).run(self.unfinished(items))
            else:
                self._run_tasks(items)
            while self.guarded and not self.stop:
                guarded, self.guarded = self.guarded, deque()
                self._run_tasks(guarded)
        finally:
            self.bar.close()
        self.report.seconds = time.perf_counter() - start
        return self.report

    def unfinished(self, items: Iterable[Item]) -> Iterator[Item]:
        """Those items that have rows to do; counts are taken by tasks, a few shards ahead.

        A model is not loaded to find out that there is nothing to do.
        """
        ahead: deque[tuple[Any, Item]] = deque()
        pending = iter(items)
        while True:
            while len(ahead) < COUNTED_AHEAD and (item := next(pending, None)) is not None:
                ahead.append((_count.remote(self.reference, item), item))
            if not ahead:
                return
            reference, item = ahead.popleft()
            while not wait_for([reference], WAIT_S):
                pass
            try:
                summary = ray.get(reference)
            except (*DEATHS, gone.RayTaskError):
                yield item  # what is wrong shows when it is done
                continue
            if summary.already < summary.rows:
                yield item
                continue
            self.report.summary.add(summary)
            self.report.shards += 1
            self.bar.update()

    def _run_tasks(self, items: Iterable[Item]) -> None:
        """Does items as plain tasks, a window of them at a time."""
        remote = _run_task.options(max_retries=0, **self.resources.ray_options())
        pending = iter(items)
        again: deque[Item] = deque()
        running: dict[Any, Item] = {}
        exhausted = False
        window, asked = self._window(), time.monotonic()
        while True:
            while len(running) < window and not self.stop:
                item = again.popleft() if again else next(pending, None)
                if item is None:
                    exhausted = True
                    break
                running[remote.remote(self.reference, item, told.remembered())] = item
            if not running and (self.stop or (exhausted and not again)):
                return
            for reference in wait_for(list(running), WAIT_S):
                self.settle(reference, running.pop(reference), again)
            if time.monotonic() - asked > 5:  # a cluster may have grown
                window, asked = self._window(), time.monotonic()

    def _window(self) -> int:
        """How many tasks are in flight: twice as many as fit, so that no CPU waits for us."""
        if self.resources.workers is not None:
            return self.resources.workers
        return max(2, int(2 * self._fitting()))

    def _fitting(self) -> float:
        """How many tasks the cluster has room for at a time."""
        cpus = ray.cluster_resources().get("CPU", 1)
        return float(cpus / max(self.resources.num_cpus, 0.01))

    def settle(self, reference: Any, item: Item, again: deque[Item]) -> bool:
        """Takes one outcome; returns False if the worker died."""
        try:
            summary = ray.get(reference)
        except DEATHS as error:
            self.died(item, error, again)
            return False
        except gone.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            return self.raised(item, cause, str(error), again)
        self.done(summary)
        return True


class ActorPool:
    """Model actors, at most two shards in flight each; a dead one is replaced.

    Asking for more actors than fit is how a cluster scales up, so an actor gets shards only once it
    is ready.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        options = loop.resources.ray_options()
        self.make: Callable[[], Any] = lambda: (
            ray.remote(StageActor)
            .options(
                max_restarts=0, max_task_retries=0, max_concurrency=SHARDS_PER_ACTOR + 1, **options
            )
            .remote(loop.reference, told.remembered())
        )
        self.starting: dict[Any, Any] = {}
        self.load: dict[Any, int] = {}
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
        for _ in range(self.loop.resources.actors):
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
            for actor in self.load:
                while self.load[actor] < SHARDS_PER_ACTOR and not self.loop.stop:
                    item = again.popleft() if again else next(pending, None)
                    if item is None:
                        exhausted = True
                        break
                    self.running[actor.run_shard.remote(item.number, item.limit)] = (item, actor)
                    self.load[actor] += 1
            if not self.running and not again and (exhausted or self.loop.stop):
                return
            if self.loop.stop and not self.running:
                return
            for reference in wait_for([*self.starting, *self.running], WAIT_S):
                if reference in self.starting:
                    self._started(reference)
                else:
                    self._settle(reference, again)

    def _settle(self, reference: Any, again: deque[Item]) -> None:
        """Takes one outcome; an actor that died is replaced."""
        item, actor = self.running.pop(reference)
        if self.loop.settle(reference, item, again):
            if actor in self.load:
                self.load[actor] -= 1
        elif actor in self.load:
            del self.load[actor]
            ray.kill(actor)
            self._start()

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
        self.loop.report.setup_seconds += seconds
        self.load[actor] = 0
