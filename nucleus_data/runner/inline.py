"""The loop in this process: processes one item after the other, without Ray.

It is meant for small work, tests and debuggers, and has no guards: an image that crashes its
decoder ends this process, and one that hangs blocks it. A row on which the stage raises fails
alone.
"""

import time
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

from nucleus_data.errors import DiskFullError, StoppedError
from nucleus_data.runner.actor import SetupFailedError, StageDiedError, Watchdog
from nucleus_data.runner.columns import run_columns
from nucleus_data.runner.outcomes import RAISED, one_row, raised
from nucleus_data.runner.rows import ShardRows, StageJob
from nucleus_data.runner.work import FailedShard, Item, Resources, StageReport, Summary, Task
from nucleus_data.stage import ColumnStage, Result, Row, RowFailure


class InlineLoop:
    """Processes items in this process; the arguments are those of `loop.Loop`.

    Args:
        name: The stage's name, for people.
        work: A row stage's job, or a task.
        resources, size: Not used, as everything is done in this process.
        progress: Whether to show a progress bar, if the output is a terminal.
    """

    def __init__(
        self,
        name: str,
        work: StageJob | Task,
        resources: Resources,
        size: object = None,
        *,
        progress: bool = True,
    ) -> None:
        self.work = work
        self.stage: Any = None
        self.report = StageReport(name)
        self.bar = tqdm(
            desc=name, unit=" shards", delay=1, disable=None if progress else True, leave=False
        )

    def run(self, items: Iterable[Item], total: int | None = None) -> StageReport:
        """Processes all items in order, and returns a report.

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
                    # Every further shard would fail as well.
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
        """Returns the items in processing order; tests override this."""
        return items

    def _one(self, item: Item) -> Summary:
        """Processes one item; the stage is set up when the first row needs it."""
        if not isinstance(self.work, StageJob):
            return self.work.run(item.number)
        state = self.work.open(item.number, item.limit)
        if state.todo.num_rows:
            self.stage = self.stage or set_up(self.work)
            try:
                run_rows(state, self.stage)
            except StageDiedError:
                run_alone(state, self.stage)
        return state.commit()


def run_rows(state: ShardRows, stage: Any, watch: Watchdog | None = None) -> None:
    """Runs a stage on the rows of a shard that lack a result, in this process.

    Args:
        state: The shard; it is not committed.
        stage: The stage, after its setup.
        watch: Ends this process if no row makes progress for too long; None to wait forever.

    Raises:
        StageDiedError: The stage's `process` raised; rows that were done stay in `state`.
    """
    if isinstance(stage, ColumnStage):
        run_columns(state, stage, watch.touch if watch else lambda: None)
        if watch:
            watch.rest()
        return
    start = time.perf_counter()
    rows = _Watched(state.rows())
    outcomes = iter(stage.process(rows))
    while True:
        try:
            outcome = next(outcomes)
        except StopIteration:
            break
        except Exception as error:
            # Errors of reading the input, or of a full disk, are not the stage's fault.
            if rows.error is not None:
                raise rows.error from None
            if isinstance(error, DiskFullError):
                raise
            if isinstance(error, StoppedError):
                raise SetupFailedError.of(state.job.stage.name, error) from None
            raise StageDiedError(traceback.format_exc()) from None
        state.accept(outcome)
        if watch:
            watch.touch()
    if watch:
        watch.rest()
    state.summary.seconds["process"] += time.perf_counter() - start
    state.summary.seconds["process"] -= state.summary.seconds["read"]
    state.took(stage)


def run_alone(state: ShardRows, stage: Any) -> None:
    """Runs a stage on the rows that `run_rows` left, one by one, so that each fails alone.

    Args:
        state: The shard; it is not committed.
        stage: The stage, after its setup.
    """
    for row in state.rows():
        outcome: Result | RowFailure
        try:
            outcome = one_row(stage, row)
        except DiskFullError:
            raise
        except StoppedError as error:
            raise SetupFailedError.of(state.job.stage.name, error) from None
        except Exception as error:
            outcome = RowFailure(row, RAISED, raised(error), retryable=True)
        state.accept(outcome)


class _Watched:
    """Iterates over rows, and remembers an error in reading them, which is not the stage's."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.rows = rows
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        try:
            return next(self.rows)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


def set_up(job: StageJob) -> Any:
    """Sets the job's stage up, and returns it. Raises SetupFailedError."""
    job.stage.cpus = job.cpus
    try:
        job.stage.setup()
    except Exception as error:
        raise SetupFailedError.of(job.stage.name, error) from None
    return job.stage
