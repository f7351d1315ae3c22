"""The loop with one worker process of this machine, for small work, without Ray.

Starting Ray takes seconds, which is too long for eight pictures. The worker is one child process
for all stages of a command, except that a stage with a model gets its own. It has the same guards
as Ray's workers: a picture that kills or hangs it costs only itself.
"""

import contextlib
import pickle
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import IO

from nucleus_data.corpus import told
from nucleus_data.runner.attempts import TELL_S, Attempts, do_item
from nucleus_data.runner.child import Child, connect_to_parent
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import Item, Resources, StageReport, Summary, Task

GONE = (EOFError, ConnectionResetError, BrokenPipeError)
LOG_LINE = 500
# As in Ray for a worker with one CPU; another number of threads would change the last bits of sums.
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


class WorkerDiedError(RuntimeError):
    """The worker died while processing an item."""


class WorkRaisedError(RuntimeError):
    """An item ended with an exception.

    Args:
        cause: The exception.
        trace: Its traceback.
    """

    def __init__(self, cause: Exception, trace: str) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.trace = trace


class LocalWorker:
    """A child process that processes items one after the other; started with the first one."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._log: IO[bytes] | None = None
        self._work: bytes | None = None

    def do(
        self, work: StageJob | Task, item: Item, waiting: Callable[[], None] = lambda: None
    ) -> Summary:
        """Processes an item.

        Args:
            work: A row stage's job, or a task.
            item: The item.
            waiting: Called every second until it is done.

        Raises:
            WorkerDiedError: The worker died; the next item gets a new one.
            WorkRaisedError: The item ended with an exception.
        """
        if self._child is None:
            self._log = tempfile.TemporaryFile(prefix="nucleus-worker-")  # noqa: SIM115 - closed below
            self._child, self._work = Child(__name__, self._log, ENVIRONMENT), None
        child = self._child
        pickled = pickle.dumps(work)
        try:
            child.connection.send(
                (None if pickled == self._work else pickled, item, told.remembered())
            )
            self._work = pickled
            while not child.connection.poll(TELL_S):
                waiting()
            kind, *content = child.connection.recv()
        except GONE:
            cause = child.cause()
            said = self._last_line()
            self.close()
            raise WorkerDiedError(f"its process ended with {cause}{said}") from None
        if kind == "raised":
            raise WorkRaisedError(*content)
        summary: Summary = content[0]
        return summary

    def close(self) -> None:
        """Kills the process."""
        if self._child is not None:
            self._child.close()
            self._child = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _last_line(self) -> str:
        """Returns the last line of the process's output, in brackets."""
        assert self._log is not None
        self._log.seek(0)
        lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line]
        return f" ({lines[-1][:LOG_LINE]})" if lines else ""


class LocalLoop(Attempts):
    """Processes items in a worker process of this machine.

    Args:
        worker: The worker.
        name: The stage's name, for people.
        work: A row stage's job, or a task.
        resources: Not used, as there is only one worker.
        progress: Whether to show a progress bar, if the output is a terminal.
    """

    def __init__(
        self,
        worker: LocalWorker,
        name: str,
        work: StageJob | Task,
        resources: Resources,
        *,
        progress: bool = True,
    ) -> None:
        super().__init__(name, work, progress=progress)
        self.worker = worker

    def run(self, items: Iterable[Item], total: int | None = None) -> StageReport:
        """Processes all items, the guarded ones last, and returns a report.

        Raises:
            SetupFailedError: The stage could not be set up.
        """
        start = time.perf_counter()
        self.bar.total = total
        if self.alone:
            self.worker.close()
        try:
            self._do(items)
            while self.guarded and not self.stop:
                guarded, self.guarded = self.guarded, deque()
                self._do(guarded)
        finally:
            self.bar.close()
            if self.alone:
                self.worker.close()
        self.report.seconds = time.perf_counter() - start
        return self.report

    @property
    def alone(self) -> bool:
        """Whether the work needs a process of its own, as all work with a model does.

        Otherwise, previously loaded libraries interfere: vLLM does not start where numba or
        open_clip has run.
        """
        return isinstance(self.work, StageJob) and bool(
            (self.work.stage.resources or {}).get("actors")
        )

    def _do(self, items: Iterable[Item]) -> None:
        again: deque[Item] = deque()
        for item in _chained(items, again):
            try:
                # Checked here, so that no process is started only to find nothing to do.
                summary = _without_work(self.work, item)
                self.done(summary or self.worker.do(self.work, item, self.waiting))
            except WorkerDiedError as error:
                self.died(item, error, again)
            except WorkRaisedError as error:
                usable = self.raised(item, error.cause, error.trace, again)
                if not usable and self.alone:
                    self.worker.close()  # a model need not load twice in one process; vLLM doesn't
            if self.stop:
                return


def _chained(items: Iterable[Item], again: deque[Item]) -> Iterator[Item]:
    """Yields the items; retries come before the next item."""
    for item in items:
        yield item
        while again:
            yield again.popleft()


def _without_work(work: StageJob | Task, item: Item) -> Summary | None:
    """Returns a shard's counts if nothing is left to do in it; else None."""
    if isinstance(work, StageJob):
        with contextlib.suppress(Exception):  # raised again, and handled, when it is processed
            summary = work.open(item.number, item.limit).summary
            if summary.already == summary.rows:
                return summary
    return None


def main() -> None:
    """The child's main loop: receives items, with their work whenever it changes."""
    connection = connect_to_parent()
    work = b""
    while True:
        try:
            pickled, item, asked = connection.recv()
        except EOFError:
            return
        told.adopt(asked)
        work = work if pickled is None else pickled
        try:
            # Unpickled for each item, so that what a stage loads in its setup does not add up.
            summary = do_item(pickle.loads(work), item)
        except Exception as error:
            _send_raised(connection, error)
            continue
        connection.send(("done", summary))


def _send_raised(connection: Connection, error: Exception) -> None:
    """Sends an exception, or its message if it can't be pickled."""
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    connection.send(("raised", error, trace))


if __name__ == "__main__":
    main()
