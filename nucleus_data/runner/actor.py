"""A model in a Ray actor: one thread runs the stage, rows of several shards flow through it.

Each `run_shard` call reads its shard's rows into a queue (so that reading overlaps the model) and
waits until all of them came back. The stage's iterator yields None only while the stage holds rows
and none is waiting.
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
    """The stage's `process` raised: it is of no more use, nor is the actor that holds it.

    The shard is tried again elsewhere, and then guarded, where the row that it raised on fails.
    """


class SetupFailedError(StoppedError):
    """The stage's `setup` raised, or it raised a StoppedError: no worker will do better.

    So the run ends.

    Args:
        text: What is said.
        trace: The traceback.
    """

    def __init__(self, text: str, trace: str = "") -> None:
        super().__init__(text, trace)

    def __str__(self) -> str:
        return str(self.args[0])

    @classmethod
    def of(cls, stage: str, error: Exception) -> "SetupFailedError":
        """The error for what a stage's `setup` raised, while it is handled."""
        if isinstance(error, RequestError | StoppedError):
            return cls(str(error), traceback.format_exc())
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        text = f"{stage} can't be set up: {type(error).__name__}: {first}"
        return cls(text, traceback.format_exc())


class StageActor:
    """The actor's class (made remote by the loop).

    Args:
        job: The stage and its corpus.
        asked: What the driver knows of how corpora are asked about, for messages.
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
        """Waits for `setup`; returns its seconds. Raises SetupFailedError."""
        start = time.perf_counter()
        self.setup_done.wait()
        if self.setup_error:
            raise self.setup_error
        return time.perf_counter() - start

    def run_shard(self, shard: int, limit: int | None) -> Summary:
        """Does one shard, among the rows of others. Raises StageDiedError."""
        state = self.job.open(shard, limit)
        if state.todo.num_rows:
            done = threading.Event()
            with self.lock:
                self._check()  # whoever is noted here is woken when the stage dies
                self.shards[shard] = (state, done)
            start = time.perf_counter()
            try:
                for row in state.rows():
                    self._put(row)
                if not state.complete:
                    done.wait()  # without polling: up to 64 calls wait here
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
        """The stage's thread: works until the actor ends; wakes all calls if it dies before."""
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
        except StoppedError as error:  # what it needs is gone: no worker will do better
            self.setup_error = SetupFailedError.of(self.job.stage.name, error)
        except Exception:
            self.died = traceback.format_exc()

    def _feed(self) -> Iterator[Row | None]:
        """Rows as they come; None while the stage holds some back and no other waits."""
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
        """Gives an outcome to its shard, and wakes the call that waits for the shard's last one."""
        with self.lock:
            entry = self.shards.get(outcome.row.shard)
        self.in_flight -= 1
        if entry is None:
            return  # its call failed meanwhile; the shard is done again
        state, done = entry
        state.accept(outcome)
        if state.complete:
            done.set()


class Watchdog:
    """Ends this process when no row moved for too long.

    It does so even if native code holds the interpreter's lock.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.touched = 0.0

    def touch(self) -> None:
        """Notes that a row moved: the time begins anew."""
        now = time.monotonic()
        if now - self.touched > min(TICK_S, self.timeout_s / 4):
            faulthandler.dump_traceback_later(self.timeout_s, exit=True)
            self.touched = now

    def rest(self) -> None:
        """Notes that nothing is under way: no time runs."""
        if self.touched:
            faulthandler.cancel_dump_traceback_later()
            self.touched = 0.0


class TaskActor:
    """A model task in an actor, which does one item after the other.

    Args:
        work: The task.
        asked: As of `StageActor`.
        name: What does the work, for people.
    """

    def __init__(self, work: ModelTask, asked: Mapping[str, told.Asked], name: str) -> None:
        told.adopt(asked)
        self.work, self.name = work, name

    def ready(self) -> float:
        """Loads the model; returns its seconds. Raises SetupFailedError."""
        start = time.perf_counter()
        stand_somewhere()
        try:
            self.work.setup()
        except Exception as error:
            raise SetupFailedError.of(self.name, error) from None
        return time.perf_counter() - start

    def run_shard(self, number: int, limit: int | None) -> Summary:
        """Does one item."""
        return self.work.run(number)
