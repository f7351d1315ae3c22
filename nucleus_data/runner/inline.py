"""The loop in this process: one item after the other, without Ray.

For small work, tests and a debugger. Nothing guards it: an image that kills its decoder ends this
process, and one that hangs it is waited for.
"""

import time
import traceback
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from nucleus_data.errors import DiskFullError
from nucleus_data.runner.actor import SetupFailedError, Watchdog
from nucleus_data.runner.rows import ShardRows, StageJob
from nucleus_data.runner.work import FailedShard, Item, Resources, StageReport, Summary, Task


class InlineLoop:
    """Runs items to their end; the arguments are those of `loop.Loop`.

    Args:
        name: The stage's name, for people.
        work: A row stage's job, or a task.
        resources: Not used: all is done in this process.
        progress: Show a progress bar when the output is a terminal.
    """

    def __init__(
        self, name: str, work: StageJob | Task, resources: Resources, *, progress: bool = True
    ) -> None:
        self.work = work
        self.stage: Any = None
        self.report = StageReport(name)
        self.bar = tqdm(
            desc=name, unit=" shards", delay=1, disable=None if progress else True, leave=False
        )

    def run(self, items: Iterable[Item], total: int | None = None) -> StageReport:
        """Does all items in their order, and returns what became of them.

        Raises:
            SetupFailedError: The stage could not be set up.
        """
        start = time.perf_counter()
        self.bar.total = total
        try:
            for item in self.arranged(items):
                try:
                    summary = self._one(item)
                except SetupFailedError:
                    raise
                except Exception as error:
                    text = f"{type(error).__name__}: {error}".splitlines()[0]
                    failed = FailedShard(item.number, text, traceback.format_exc())
                    self.report.failed.append(failed)
                    # Every further shard would fail too.
                    if isinstance(error, DiskFullError):
                        break
                    continue
                self.report.summary.add(summary)
                self.report.shards += 1
                self.bar.update()
        finally:
            self.bar.close()
        self.report.seconds = time.perf_counter() - start
        return self.report

    def arranged(self, items: Iterable[Item]) -> Iterable[Item]:
        """The items in the order in which they are done; tests take others."""
        return items

    def _one(self, item: Item) -> Summary:
        """Does one item; the stage is set up when the first row needs it."""
        if not isinstance(self.work, StageJob):
            return self.work.run(item.number)
        state = self.work.open(item.number, item.limit)
        if state.todo.num_rows:
            self.stage = self.stage or set_up(self.work)
            run_rows(state, self.stage)
        return state.commit()


def run_rows(state: ShardRows, stage: Any, watch: Watchdog | None = None) -> None:
    """Has a stage do the rows of a shard that lack a result, in this process.

    Args:
        state: The shard; it is not committed.
        stage: Set up.
        watch: Ends this process when no row moved for too long; None to wait for ever.
    """
    start = time.perf_counter()
    for outcome in stage.process(state.rows()):
        state.accept(outcome)
        if watch:
            watch.touch()
    if watch:
        watch.rest()
    state.summary.seconds["process"] += time.perf_counter() - start
    state.summary.seconds["process"] -= state.summary.seconds["read"]


def set_up(job: StageJob) -> Any:
    """The job's stage, set up. Raises SetupFailedError."""
    try:
        job.stage.setup()
    except Exception:
        raise SetupFailedError(traceback.format_exc()) from None
    return job.stage
