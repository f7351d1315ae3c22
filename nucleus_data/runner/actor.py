"""A model in a Ray actor: one thread runs the stage, which is fed rows of several shards.

Each call of `run_shard` reads its shard's rows into a queue (so that reading overlaps with the
model) and waits until all of them have come back. The stage's input iterator yields None only while
the stage holds rows and no others are waiting.
"""

import faulthandler
import queue
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from nucleus_data.corpus import told
from nucleus_data.errors import RequestError, StoppedError
from nucleus_data.runner.cwd import stand_somewhere
from nucleus_data.runner.rows import ShardRows, StageJob
from nucleus_data.runner.work import ModelTask, Summary
from nucleus_data.stage import Row

QUEUE_ROWS = 64
IDLE_S = 0.2
TICK_S = 1.0


class StageDiedError(RuntimeError):
    """The stage's `process` raised, so that the stage and its actor can't be used any more.

    The shard is retried elsewhere, and finally guarded, where only the row that raises fails.
    """


class SetupFailedError(StoppedError):
    """The stage's `setup` raised, or the stage raised a StoppedError; this ends the run.

    No other worker would do better.

    Args:
        text: The message.
        trace: The traceback.
    """

    def __init__(self, text: str, trace: str = "") -> None:
        super().__init__(text, trace)

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def trace(self) -> str:
        """The traceback in the worker."""
        return str(self.args[1])

    @classmethod
    def of(cls, stage: str, error: Exception) -> "SetupFailedError":
        """Makes the error from an exception of a stage's `setup`; call while handling it."""
        if isinstance(error, RequestError | StoppedError):
            return cls(str(error), traceback.format_exc())
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        text = f"{stage} can't be set up: {type(error).__name__}: {first} (--debug shows where)"
        return cls(text, traceback.format_exc())


class StageActor:
    """The actor's class (made remote by the loop).

    Args:
        job: The stage and its corpus.
        asked: The driver's record of how corpora were named on the command line, for messages.
    """

    def __init__(
        self, job: StageJob, asked: Mapping[str, told.Asked] = MappingProxyType({})
    ) -> None:
        told.adopt(asked)
        self.job = job
        self.queue: queue.Queue[Row] = queue.Queue(QUEUE_ROWS)
        self.shards: dict[int, tuple[ShardRows, threading.Event]] = {}
        self.lock = threading.Lock()
        self.in_flight = 0
        self.setup_done = threading.Event()
        self.setup_error: SetupFailedError | None = None
        self.died: str | None = None
        threading.Thread(target=self._work, name="stage", daemon=True).start()

    def ready(self) -> float:
        """Waits for `setup`; returns how long it took. Raises SetupFailedError."""
        start = time.perf_counter()
        self.setup_done.wait()
        if self.setup_error:
            raise self.setup_error
        return time.perf_counter() - start

    def run_shard(self, shard: int, limit: int | None) -> Summary:
        """Processes one shard, interleaved with others. Raises StageDiedError."""
        state = self.job.open(shard, limit)
        if state.todo.num_rows:
            done = threading.Event()
            with self.lock:
                self._check()  # calls registered in `shards` are woken when the stage dies
                self.shards[shard] = (state, done)
            start = time.perf_counter()
            try:
                for row in state.rows():
                    self._put(row)
                if not state.complete:
                    done.wait()  # no polling, as hundreds of calls may be waiting
                if not state.complete:
                    self._check()
            finally:
                with self.lock:
                    self.shards.pop(shard, None)
            state.summary.seconds["process"] += time.perf_counter() - start
            state.took(self.job.stage)
        return state.commit()

    def _put(self, row: Row) -> None:
        """Queues a row; raises StageDiedError instead of waiting for a stage that is dead."""
        while True:
            self._check()
            try:
                return self.queue.put(row, timeout=IDLE_S)
            except queue.Full:
                continue

    def _check(self) -> None:
        if self.setup_error:
            raise self.setup_error
        if self.died:
            raise StageDiedError(self.died)

    def _work(self) -> None:
        """Body of the stage's thread; wakes all waiting calls if the stage dies."""
        stand_somewhere()
        self.job.stage.cpus = self.job.cpus
        try:
            self._set_up_and_process()
        finally:
            with self.lock:
                for _, done in self.shards.values():
                    done.set()

    def _set_up_and_process(self) -> None:
        """Sets the stage up, then processes rows until the actor ends."""
        try:
            self.job.stage.setup()
        except Exception as error:
            self.setup_error = SetupFailedError.of(self.job.stage.name, error)
        self.setup_done.set()
        if self.setup_error:
            return
        try:
            for outcome in self.job.stage.process(self._feed()):  # type: ignore[arg-type]
                self._accept(outcome)
            self.died = "process() ended although its rows had not"
        except StoppedError as error:  # a required resource is lost: no worker will do better
            self.setup_error = SetupFailedError.of(self.job.stage.name, error)
        except Exception:
            self.died = traceback.format_exc()

    def _feed(self) -> Iterator[Row | None]:
        """Yields queued rows; None while the stage holds some and no others are waiting."""
        watch = Watchdog(self.job.row_timeout_s)
        while True:
            try:
                row = self.queue.get_nowait()
            except queue.Empty:
                if self.in_flight:
                    yield None
                    continue
                watch.rest()
                try:
                    row = self.queue.get(timeout=IDLE_S)
                except queue.Empty:
                    continue
            self.in_flight += 1
            watch.touch()
            yield row

    def _accept(self, outcome: Any) -> None:
        """Passes an outcome to its shard, and wakes the shard's call after the last one."""
        with self.lock:
            entry = self.shards.get(outcome.row.shard)
        self.in_flight -= 1
        if entry is None:
            return  # its call has failed in the meantime; the shard will be retried
        state, done = entry
        state.accept(outcome)
        if state.complete:
            done.set()


class Watchdog:
    """Ends this process if no row has made progress for too long.

    It does so even if native code holds the interpreter's lock.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.touched = 0.0

    def touch(self) -> None:
        """Notes progress, which restarts the timer."""
        now = time.monotonic()
        if now - self.touched > min(TICK_S, self.timeout_s / 4):
            faulthandler.dump_traceback_later(self.timeout_s, exit=True)
            self.touched = now

    def rest(self) -> None:
        """Stops the timer, as there is nothing to do."""
        if self.touched:
            faulthandler.cancel_dump_traceback_later()
            self.touched = 0.0


class TaskActor:
    """A model task in an actor, which processes one item after the other.

    Args:
        work: The task.
        asked: As for `StageActor`.
        name: Name of the stage, for people.
    """

    def __init__(self, work: ModelTask, asked: Mapping[str, told.Asked], name: str) -> None:
        told.adopt(asked)
        self.work, self.name = work, name

    def ready(self) -> float:
        """Loads the model; returns how long it took. Raises SetupFailedError."""
        start = time.perf_counter()
        stand_somewhere()
        try:
            self.work.setup()
        except Exception as error:
            raise SetupFailedError.of(self.name, error) from None
        return time.perf_counter() - start

    def run_shard(self, number: int, limit: int | None) -> Summary:
        """Processes one item."""
        return self.work.run(number)
