"""The loop in a worker of this machine: what small work is done with, without Ray.

Ray takes seconds to start, which eight pictures are not worth. The worker is one child process for
all stages of a command, but for those with a model, which have one each; with the guards of Ray's
workers: a picture that kills or hangs it costs itself alone.
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
# As Ray has it for a worker of one CPU: with other threads, sums have other last bits.
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


class WorkerDiedError(RuntimeError):
    """The worker ended in the midst of an item."""


class WorkRaisedError(RuntimeError):
    """An item ended in an exception.

    Args:
        cause: The exception.
        trace: Its traceback.
    """

    def __init__(self, cause: Exception, trace: str) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.trace = trace


class LocalWorker:
    """A child process that does items, one after the other; it starts with the first."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._log: IO[bytes] | None = None
        self._work: bytes | None = None

    def do(
        self, work: StageJob | Task, item: Item, waiting: Callable[[], None] = lambda: None
    ) -> Summary:
        """Does an item.

        Args:
            work: What is done.
            item: With what.
            waiting: Called every second until it is done.

        Raises:
            WorkerDiedError: The worker ended; the next item has another one.
            WorkRaisedError: The item ended in an exception.
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
        """Ends the process."""
        if self._child is not None:
            self._child.close()
            self._child = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _last_line(self) -> str:
        """What the process said last, in brackets."""
        assert self._log is not None
        self._log.seek(0)
        lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line]
        return f" ({lines[-1][:LOG_LINE]})" if lines else ""


class LocalLoop(Attempts):
    """Runs items to their end in a worker of this machine.

    Args:
        worker: Does them.
        name: The stage's name, for people.
        work: A row stage's job, or a task.
        resources: Not used: there is one worker.
        progress: Show a progress bar when the output is a terminal.
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
        """Does all items, the guarded ones last, and returns what became of them.

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
        """Whether the work has a process of its own, as that of a model has.

        What others loaded is in a model's way: vLLM does not start where numba or open_clip ran.
        """
        return isinstance(self.work, StageJob) and bool(
            (self.work.stage.resources or {}).get("actors")
        )

    def _do(self, items: Iterable[Item]) -> None:
        again: deque[Item] = deque()
        for item in _chained(items, again):
            try:
                # No process starts, and no model is loaded, to find that there is nothing to do.
                summary = _without_work(self.work, item)
                self.done(summary or self.worker.do(self.work, item, self.waiting))
            except WorkerDiedError as error:
                self.died(item, error, again)
            except WorkRaisedError as error:
                self.raised(item, error.cause, error.trace, again)
            if self.stop:
                return


def _chained(items: Iterable[Item], again: deque[Item]) -> Iterator[Item]:
    """The items; what is to be done again comes before the next one."""
    for item in items:
        yield item
        while again:
            yield again.popleft()


def _without_work(work: StageJob | Task, item: Item) -> Summary | None:
    """A shard's counts if nothing of it is left to do; what is wrong shows when it is done."""
    if isinstance(work, StageJob):
        with contextlib.suppress(Exception):
            summary = work.open(item.number, item.limit).summary
            if summary.already == summary.rows:
                return summary
    return None


def main() -> None:
    """The child's side: items, with their work where it is another one than before."""
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
            # Anew for each item: what a stage loads when it is set up is no part of its work.
            summary = do_item(pickle.loads(work), item)
        except Exception as error:
            _send_raised(connection, error)
            continue
        connection.send(("done", summary))


def _send_raised(connection: Connection, error: Exception) -> None:
    """Sends an exception, or, where it is one that can't be sent, its words."""
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    connection.send(("raised", error, trace))


if __name__ == "__main__":
    main()
