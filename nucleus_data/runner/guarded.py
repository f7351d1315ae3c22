"""Guarded shards: each image is processed in a child process with limits on time and memory.

A shard is guarded after two workers died, or their stage raised, while it was in flight. The child
sets the stage up once, and gets one row at a time. If it dies, hangs or uses too much memory, or if
the stage raises, that image fails with the reason, and a new child continues with the next one.
"""

import pickle
import threading
import time
import traceback
from typing import Any

import psutil

from nucleus_data.errors import StoppedError
from nucleus_data.runner.actor import SetupFailedError
from nucleus_data.runner.child import Child, connect_to_parent
from nucleus_data.runner.outcomes import RAISED, one_row, raised
from nucleus_data.runner.rows import StageJob
from nucleus_data.runner.work import Summary
from nucleus_data.stage import Result, Row, RowFailure

POLL_S = 0.05
SETUP_TIMEOUT_S = 1800.0
# A stage that raised may be in any state, so the next row gets a new child. If it raises on so many
# consecutive rows, it is not loaded again for every further one.
RAISED_AFRESH = 3


def run_guarded(job: StageJob, shard: int, limit: int | None) -> Summary:
    """Processes a shard with each image in a child process, and commits it."""
    state = job.open(shard, limit)
    start = time.perf_counter()
    child = _GuardedStage(job)
    try:
        for row in state.rows():
            state.accept(child.process(row))
    finally:
        child.close()
    state.summary.seconds["process"] += time.perf_counter() - start
    return state.commit()


class _GuardedStage:
    """A child process that holds the stage and processes one row at a time."""

    def __init__(self, job: StageJob) -> None:
        self.job = job
        self.child: Child | None = None
        self.raised_in_turn = 0

    def process(self, row: Row) -> Result | RowFailure:
        """Processes a row in the child; a crash or an exception becomes a failure of this row."""
        child = self.child or self._start()
        doing = self.job.stage.name
        try:
            child.connection.send(row)
            deadline = time.monotonic() + self.job.row_timeout_s
            while True:
                if child.connection.poll(POLL_S):
                    kind, content = child.connection.recv()
                    if kind == "doing":
                        doing = content
                        continue
                    if kind == "raised":
                        return self._raised(row, content)
                    if kind == "stopped":
                        raise SetupFailedError(content)
                    self.raised_in_turn = 0
                    content.row = row
                    return content
                if time.monotonic() > deadline:
                    return self._kill(row, "killed_timeout", doing)
                if _memory(child.pid) > self.job.row_memory_bytes:
                    return self._kill(row, "killed_memory", doing)
        except (EOFError, ConnectionResetError, BrokenPipeError):
            cause = child.cause().lower().replace(" ", "_")
            self.close()
            return RowFailure(row, f"killed_{cause}", f"in {doing}", True)

    def close(self) -> None:
        """Kills the child."""
        if self.child is not None:
            self.child.close()
            self.child = None

    def _start(self) -> Child:
        """Starts the child and waits until its stage is set up."""
        self.child = Child("nucleus_data.runner.guarded")
        self.child.connection.send(self.job.stage)
        if not self.child.connection.poll(SETUP_TIMEOUT_S):
            raise TimeoutError(f"setting up {self.job.stage.name} took over {SETUP_TIMEOUT_S:g} s")
        kind, content = self.child.connection.recv()
        if kind != "ready":
            raise RuntimeError(f"setting up {self.job.stage.name} failed: {content}")
        return self.child

    def _kill(self, row: Row, reason: str, doing: str) -> RowFailure:
        limit = (
            f"{self.job.row_timeout_s:g} s"
            if reason == "killed_timeout"
            else f"{self.job.row_memory_bytes >> 20} MB"
        )
        self.close()
        return RowFailure(row, reason, f"over {limit} in {doing}", retryable=True)

    def _raised(self, row: Row, detail: str) -> RowFailure:
        self.raised_in_turn += 1
        if self.raised_in_turn <= RAISED_AFRESH:
            self.close()
        return RowFailure(row, RAISED, detail, retryable=True)


def _memory(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def main() -> None:
    """The child's main loop: receives a stage, then rows, through the socket in the argument."""
    connection = connect_to_parent()
    lock = threading.Lock()

    def send(kind: str, content: Any = None) -> None:
        with lock:
            connection.send((kind, content))

    try:
        stage = connection.recv()
        stage.doing = lambda what: send("doing", what)
        stage.setup()
        send("ready")
    except Exception as error:
        send("raised", raised(error))
        return
    while True:
        try:
            row = connection.recv()
        except EOFError:
            return
        try:
            outcome = one_row(stage, row)
            outcome.row = Row(row.shard, row.row, row.id, row.file, None, {}, row.wanted)
            pickle.dumps(outcome)
        except Exception as error:
            traceback.print_exc()  # into the worker's log: the row keeps one line of it
            send(
                *("stopped", str(error))
                if isinstance(error, StoppedError)
                else ("raised", raised(error))
            )
            continue
        send("outcome", outcome)


if __name__ == "__main__":
    main()
