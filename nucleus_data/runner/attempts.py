"""The retry policy for items, and processing one in a worker.

It is the same for Ray's workers (`loop`) and for the worker on this machine (`local`): an item
whose worker died, or whose stage raised, is retried; after the second time it runs guarded, and
after the fourth it fails.
"""

import pickle
import time
from collections import deque
from typing import Any

from tqdm import tqdm

from nucleus_data.errors import DiskFullError
from nucleus_data.runner.actor import SetupFailedError, StageDiedError, Watchdog
from nucleus_data.runner.allocator import limit_arenas, release_unused
from nucleus_data.runner.guarded import run_guarded
from nucleus_data.runner.inline import run_rows, set_up
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import FailedShard, Item, StageReport, Summary, Task, TellingTask

TELL_S = 1.0  # interval of progress updates while an item is being processed
GUARDED_AFTER = 2
FAILED_AFTER = 4


class Attempts:
    """Counts the outcomes of items, and decides about retries.

    Args:
        name: The stage's name, for people.
        work: A row stage's job, or a task.
        progress: Whether to show a progress bar, if the output is a terminal.

    Attributes:
        report: The counts.
        guarded: Items that have to run guarded, after all others.
        stop: Why no further items are started; None to go on.
    """

    def __init__(self, name: str, work: StageJob | Task, *, progress: bool = True) -> None:
        self.work = work
        self.began = time.perf_counter()
        self.report = StageReport(name)
        self.guarded: deque[Item] = deque()
        self.stop: str | None = None
        self._told = self.began
        self.bar = tqdm(
            desc=name, unit=" shards", delay=1, disable=None if progress else True, leave=False
        )

    def done(self, summary: Summary) -> None:
        """Notes that an item is done."""
        self.report.summary.add(summary)
        self.report.shards += 1
        self.bar.set_postfix_str(self._said(), refresh=False)
        self.bar.update()

    def waiting(self) -> None:
        """Updates the progress bar every second, since a single item may take an hour."""
        now = time.perf_counter()
        if isinstance(self.work, TellingTask) and now - self._told >= TELL_S:
            self._told = now
            if not self.bar.disable:
                self.bar.set_postfix_str(self._said())

    def _said(self) -> str:
        """Returns the counts so far, for the progress bar."""
        if isinstance(self.work, TellingTask):
            return self.work.progress(self.report.summary, time.perf_counter() - self.began)
        return f"{self.report.summary.done:,} done"

    def raised(self, item: Item, cause: Exception, trace: str, again: deque[Item]) -> bool:
        """Decides about an item that ended with an exception.

        Returns:
            Whether its worker can still be used.

        Raises:
            SetupFailedError: No worker will do better.
        """
        if isinstance(cause, SetupFailedError):
            raise cause from None
        if isinstance(cause, StageDiedError):
            self.died(item, cause, again)
            return False
        # Every further shard would fail as well: start no more; those in flight may still finish.
        if isinstance(cause, DiskFullError):
            self.stop = str(cause)
        self._fail(item, f"{type(cause).__name__}: {cause}", trace)
        return True

    def died(self, item: Item, error: Exception, again: deque[Item]) -> None:
        """Decides about an item whose worker died: retry it, run it guarded, or fail it."""
        item.deaths += 1
        self.report.deaths += 1
        if item.deaths >= FAILED_AFTER or (
            item.deaths > GUARDED_AFTER and not isinstance(self.work, StageJob)
        ):
            self._fail(item, f"its worker died {item.deaths} times: {error}", str(error))
        elif item.deaths >= GUARDED_AFTER:
            self.guarded.append(item)
        else:
            again.append(item)

    def _fail(self, item: Item, error: str, trace: str) -> None:
        """Notes an item that is given up."""
        self.report.failed.append(FailedShard(item.number, error.splitlines()[0][:2000], trace))
        self.bar.update()


def do_item(work: StageJob | Task, item: Item) -> Summary:
    """Processes one item, in a worker process.

    Raises:
        SetupFailedError: The stage could not be set up.
        StageDiedError: The stage raised.
    """
    limit_arenas()
    if not isinstance(work, StageJob):
        try:
            return work.run(item.number)
        finally:
            release_unused()
    if item.deaths >= GUARDED_AFTER:
        return run_guarded(work, item.number, item.limit)
    state = work.open(item.number, item.limit)
    if state.todo.num_rows:
        watch = Watchdog(work.row_timeout_s)
        try:
            run_rows(state, _set_up(work), watch)
        except StageDiedError:
            _stages.clear()  # the stage may be in any state
            watch.rest()  # this process continues with other items
            raise
    return state.commit()


_stages: dict[bytes, Any] = {}


def _set_up(job: StageJob) -> Any:
    """Returns the job's stage, set up once per worker process."""
    key = pickle.dumps(job.stage)
    if key not in _stages:
        stage = set_up(job)
        _stages.clear()  # free the model of the previous stage
        _stages[key] = stage
    return _stages[key]
