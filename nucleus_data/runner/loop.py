"""The driver's loop over Ray: keeps a bounded window of tasks or actors busy.

It collects failures and shows progress. Only shard numbers are sent, and summaries under 10 KB come
back. Ray's own retries are off (`max_retries=0`, `max_restarts=0`): `attempts` decides about them.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ray
from ray import exceptions as gone

from nucleus_data.corpus import told
from nucleus_data.runner.attempts import Attempts, do_item
from nucleus_data.runner.cluster import wait_for
from nucleus_data.runner.cwd import stand_somewhere
from nucleus_data.runner.pool import DEATHS, WAIT_S, ActorPool
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import (
    Item,
    ModelTask,
    Resources,
    SharingTask,
    StageReport,
    Summary,
    Task,
)
from nucleus_data.stage import ColumnStage

COUNTED_AHEAD = 8


@ray.remote
def _run_task(work: StageJob | Task, item: Item, asked: Mapping[str, told.Asked]) -> Summary:
    """Processes one item in a worker process."""
    stand_somewhere()
    told.adopt(asked)
    return do_item(work, item)


@ray.remote(num_cpus=0, max_retries=0)
def _count(job: StageJob | Task, item: Item) -> Summary:
    """Counts a shard's rows, and those that have a result, without processing any."""
    assert isinstance(job, StageJob)
    return job.open(item.number, item.limit).summary


def _has_model(work: StageJob | Task) -> bool:
    """Whether actors can do the work; they are fed row by row, which excludes column stages."""
    if isinstance(work, StageJob):
        return not isinstance(work.stage, ColumnStage)
    return isinstance(work, ModelTask)


class Loop(Attempts):
    """Processes items with Ray.

    Args:
        name: The stage's name, for people.
        work: A row stage's job, or a task.
        resources: CPUs, GPUs and memory of each worker.
        progress: Whether to show a progress bar, if the output is a terminal.
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
        """Processes all items, the guarded ones last, and returns a report.

        Raises:
            SetupFailedError: The stage could not be set up.
        """
        start = time.perf_counter()
        self.bar.total = total
        try:
            if self.resources.actors and _has_model(self.work):
                # The items of a task are unfinished by construction.
                counted = isinstance(self.work, StageJob)
                ActorPool(self, self.reference, self.resources, self.settle).run(
                    self.unfinished(items) if counted else items
                )
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
        """Yields the items with rows to process, which tasks count a few shards ahead.

        So no model is loaded only to find that there is nothing to do.
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
                yield item  # the error will be handled when the item is processed
                continue
            if summary.already < summary.rows:
                item.rows = summary.rows - summary.already
                yield item
                continue
            self.report.summary.add(summary)
            self.report.shards += 1
            self.bar.update()

    def _run_tasks(self, items: Iterable[Item]) -> None:
        """Processes items as plain tasks, a window of them at a time."""
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
            self.waiting()
            if time.monotonic() - asked > 5:  # a cluster may have grown
                window, asked = self._window(), time.monotonic()

    def _window(self) -> int:
        """Returns the number of tasks in flight: twice as many as fit, so that no CPU is idle."""
        if self.resources.workers is not None:
            return self.resources.workers
        return max(2, int(2 * self._fitting()))

    def _fitting(self) -> float:
        """Returns the number of tasks that the cluster can run at once."""
        cpus = ray.cluster_resources().get("CPU", 1)
        return float(cpus / max(self.resources.num_cpus, 0.01))

    def settle(self, reference: Any, item: Item, again: deque[Item]) -> bool:
        """Handles one outcome; returns False if the worker died."""
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
