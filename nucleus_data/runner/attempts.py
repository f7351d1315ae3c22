"""What becomes of an item: done, tried again, guarded, given up; and doing one, in a worker.

The same for Ray's workers (`loop`) and for the one on this machine (`local`): an item whose worker
died, or whose stage raised, is tried again, after the second time it runs guarded, after the fourth
it fails.
"""

import pickle
import time
from collections import deque
from typing import Any

from tqdm import tqdm

from nucleus_data.errors import DiskFullError
from nucleus_data.runner.actor import SetupFailedError, StageDiedError, Watchdog
from nucleus_data.runner.guarded import run_guarded
from nucleus_data.runner.inline import run_rows, set_up
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import FailedShard, Item, StageReport, Summary, Task, TellingTask

TELL_S = 1.0  # between two looks at how an item fares that is being done
GUARDED_AFTER = 2
FAILED_AFTER = 4


class Attempts:
    """Counts what became of items.

    Args:
        name: The stage's name, for people.
        work: A row stage's job, or a task.
        progress: Show a progress bar when the output is a terminal.

    Attributes:
        report: The counts.
        guarded: Items that must be done guarded, after all others.
        stop: Why no further item is begun; None while they are.
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
        """Notes an item that is done."""
        self.report.summary.add(summary)
        self.report.shards += 1
        self.bar.set_postfix_str(self._said(), refresh=False)
        self.bar.update()

    def waiting(self) -> None:
        """Says anew, every second, how a task fares: a single item of it may take an hour."""
        now = time.perf_counter()
        if isinstance(self.work, TellingTask) and now - self._told >= TELL_S:
            self._told = now
            if not self.bar.disable:
                self.bar.set_postfix_str(self._said())

    def _said(self) -> str:
        """The counts so far, beside the progress bar."""
        if isinstance(self.work, TellingTask):
            return self.work.progress(self.report.summary, time.perf_counter() - self.began)
        return f"{self.report.summary.done:,} done"

    def raised(self, item: Item, cause: Exception, trace: str, again: deque[Item]) -> bool:
        """Decides what becomes of an item that ended in an exception.

        Returns:
            Whether its worker is of further use.

        Raises:
            SetupFailedError: No worker will do better.
        """
        if isinstance(cause, SetupFailedError):
            raise cause from None
        if isinstance(cause, StageDiedError):
            self.died(item, cause, again)
            return False
        # Every further shard would fail too: none is begun, those in flight may still end.
        if isinstance(cause, DiskFullError):
            self.stop = str(cause)
        self._fail(item, f"{type(cause).__name__}: {cause}", trace)
        return True

    def died(self, item: Item, error: Exception, again: deque[Item]) -> None:
        """Decides what becomes of an item whose worker died: again, guarded, or failed."""
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
    """Does one item, in a worker process.

    Raises:
        SetupFailedError: The stage could not be set up.
        StageDiedError: The stage raised.
    """
    if not isinstance(work, StageJob):
        return work.run(item.number)
    if item.deaths >= GUARDED_AFTER:
        return run_guarded(work, item.number, item.limit)
    state = work.open(item.number, item.limit)
    if state.todo.num_rows:
        watch = Watchdog(work.row_timeout_s)
        try:
            run_rows(state, _set_up(work), watch)
        except StageDiedError:
            _stages.clear()  # it may be in any state
            watch.rest()  # this process goes on
            raise
    return state.commit()


_stages: dict[bytes, Any] = {}


def _set_up(job: StageJob) -> Any:
    """The job's stage, set up once in each worker process."""
    key = pickle.dumps(job.stage)
    if key not in _stages:
        stage = set_up(job)
        _stages.clear()  # a worker that goes on with another stage needs no model of the one before
        _stages[key] = stage
    return _stages[key]
