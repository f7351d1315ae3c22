"""Rows through a captioner: threads prepare pictures, the caller's thread runs the engine.

    row -> what is asked -> [waiting] -> a thread decodes and prepares -> [ready] -> the engine
                 ^                                                                     |
                 +--- the next attempt, or what asks about this caption <--- checks <--+

A picture is prepared once for all that is asked about it at a time. Few pictures are prepared or
ready at a time: as the engine reads it, a large one takes 25 MB. The engine holds at most
`max_in_flight` requests; one that runs on the CPUs takes turns with the threads. Each variant of a
row ends by itself, as a caption or as a reason (`failures`); the row ends when its last variant
does.
"""

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nucleus_data.engines.captioner import Engine, Generated, raised
from nucleus_data.stage import Result, Row, RowFailure, TableFailure
from nucleus_data.stages.caption.asking import AskError, Asking
from nucleus_data.stages.caption.checks import Fault
from nucleus_data.stages.caption.ends import exhausted, of_parent, stage_raised
from nucleus_data.stages.caption.failures import EMPTY, LOST, failure_of
from nucleus_data.stages.caption.rounds import (
    Asked,
    Clock,
    Held,
    Round,
    first_attempt,
    fitting,
    prepare,
)
from nucleus_data.stages.caption.truth import Probes

POLL_S = 0.005
Check = Callable[[Any], Fault | None]
Outcome = Mapping[str, Any] | TableFailure


class Flow:
    """The way of rows through an engine.

    Args:
        engine: With nothing pending.
        asking: What is asked, and what is kept of the answers.
        check: Finds what is wrong with an answer.
        threads: How many prepare pictures.
        clock: Takes the engine's times.
        probes: Asks about some pictures once more when the engine has nothing pending; None for no
            truth tests.
    """

    def __init__(
        self,
        engine: Engine,
        asking: Asking,
        check: Check,
        threads: int,
        clock: Clock,
        probes: Probes | None = None,
    ) -> None:
        settings = asking.settings
        self._engine = engine
        self._asking = asking
        self._check = check
        self._clock = clock
        self._probes = probes or Probes()
        self._fit = fitting(settings)
        self._attempts = settings.attempts
        self._most = settings.max_in_flight
        # A quarter of what the engine holds: that much may end in one step.
        self._ahead = max(2 * threads, -(-self._most // (4 * len(settings.variants))))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="caption")
        self._waiting: deque[Round] = deque()  # not in a thread's hands yet
        self._preparing = 0
        self._ready: queue.SimpleQueue[Round] = queue.SimpleQueue()
        self._next: deque[Round] = deque()  # ready, and taken from there
        # An engine on these CPUs and threads that prepare only slow each other: they contend for
        # the interpreter's lock at every operation on tensors, a tenth of a small model's time.
        self._takes_turns = engine.on_cpu
        self._asked: dict[str, Asked] = {}  # with the engine
        self._done: deque[Result | RowFailure] = deque()
        self._under_way = 0

    def run(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Gives back each row's outcome; works on those that it holds when given None."""
        try:
            for row in rows:
                if row is None:
                    self._work()
                else:
                    self._take(row)
                    while self._crowded():
                        self._fill()
                        if self._crowded():  # else there is room for the next row at once
                            self._work()
                        yield from self._given()
                yield from self._given()
            while self._under_way:
                self._work()
                yield from self._given()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _given(self) -> Iterator[Result | RowFailure]:
        # While the engine is not known to be right, nothing of it is stored.
        if self._under_way and self._probes.hold_back:
            return
        while self._done:
            yield self._done.popleft()

    def _take(self, row: Row) -> None:
        """Asks the first questions about a row."""
        if row.image is None:
            self._done.append(RowFailure(row, "no_image"))
            return
        wanted = {table.removeprefix("caption.") for table in row.wanted}
        wanted &= set(self._asking.settings.variants)
        held = Held(row, wanted)
        self._under_way += 1
        held.live += 1  # so that it does not end while it is asked about
        self._ask(held, self._asking.roots(row, wanted))
        held.live -= 1
        self._end(held)

    def _ask(self, held: Held, names: Sequence[str], attempt: int | None = None) -> None:
        """Puts questions about a row in line; without an attempt, each variant's first one."""
        asked = {}
        for name in names:
            number = first_attempt(held.row, name) if attempt is None else attempt
            try:
                ask = self._asking.ask(held.row, name, number, held.made)
            except AskError as error:
                self._settle(held, name, error.failure)
            except Exception as error:
                self._settle(held, name, stage_raised(error))
            else:
                asked[ask.key] = Asked(held, name, number, ask)
        if asked:
            held.live += len(asked)
            self._waiting.append(Round(held, asked))
            self._hand_out()

    def _hand_out(self) -> None:
        """Gives the threads what they have room for, several pictures at a time if in turns."""
        if self._takes_turns and self._preparing > self._ahead // 2:
            return
        while self._waiting and self._preparing < self._ahead:
            self._preparing += 1
            self._pool.submit(self._prepare, self._waiting.popleft())

    def _prepare(self, round_: Round) -> None:
        """Prepares a round, in a thread of the pool."""
        try:
            prepare(round_, self._engine, self._fit)
            if not self._probes.collects:  # nobody looks at it any more
                round_.picture = None
        except Exception as error:
            round_.error = error
        finally:
            self._ready.put(round_)

    def _crowded(self) -> bool:
        return len(self._waiting) + self._preparing >= self._ahead

    def _work(self) -> None:
        """Submits what is ready and fits, and steps the engine; waits for threads if it idles."""
        self._fill()
        start = time.perf_counter()
        if self._engine.pending():
            made = self._engine.step()
            self._clock.add(busy=time.perf_counter() - start)
        elif self._asked:
            # The rows would wait for ever for requests that nobody works on.
            made = [
                Generated(key, error="it gave nothing back", reason=LOST) for key in self._asked
            ]
        elif self._preparing:
            made = []
            self._has_next(POLL_S)
            self._clock.add(waited=time.perf_counter() - start)
        else:
            made = []
        for one in made:
            self._answer(one)
        if not self._engine.pending() and self._probes.due(idle=not self._under_way):
            self._probes.ask_alone(self._engine)

    def _fill(self) -> None:
        """Submits what is ready and fits."""
        while not self._probes.due(idle=False) and self._has_next() and self._submit():
            pass

    def _has_next(self, wait_s: float = 0.0) -> bool:
        """Whether a round is ready; in turns, once no thread prepares any more."""
        if self._takes_turns and self._preparing > len(self._next):
            start = time.perf_counter()
            while self._preparing > len(self._next):
                self._next.append(self._ready.get())
            self._clock.add(waited=time.perf_counter() - start)
        if not self._next:
            try:
                self._next.append(self._ready.get(wait_s > 0, wait_s or None))
            except queue.Empty:
                return False
        return True

    def _submit(self) -> bool:
        """Gives the engine the round that is ready; False if it has no room for it."""
        round_ = self._next[0]
        size = len(round_.prepared.keys) if round_.prepared else 0
        if self._engine.pending() and self._engine.pending() + size > self._most:
            return False
        self._next.popleft()
        self._preparing -= 1
        self._hand_out()
        asked = dict(round_.asked)
        if round_.broken:
            failure = TableFailure(error=str(round_.broken.reason), detail=round_.broken.detail)
            round_.held.broken = failure
            for key in [key for key, one in asked.items() if one.ask.sees_picture]:
                self._fail(asked.pop(key), failure)
        self._asked |= asked
        for one in asked.values():
            self._probes.taken(round_.held.row, one.name, one.ask, round_.picture)
        error, failed = round_.error, []
        if round_.prepared is not None:
            failed = list(round_.prepared.failed)
            try:
                self._engine.submit(round_.prepared)
            except Exception as found:  # one that is broken raises in step, too
                error = found
        for made in failed if error is None else [raised(key, error) for key in asked]:
            self._answer(made)
        return True

    def _answer(self, made: Generated) -> None:
        """Takes an answer: a caption, the reason why there is none, or one to ask again."""
        self._probes.said(made)
        one = self._asked.pop(made.key, None)
        # A second answer, or one to what was asked before the stage raised: the first counts.
        if one is None:
            return
        held = one.held
        try:
            outcome = self._outcome(one, made)
        except Exception as error:
            outcome = stage_raised(error)
        if outcome is None:
            self._ask(held, [one.name], one.attempt + 1)
        else:
            self._settle(held, one.name, outcome)
        held.live -= 1
        self._end(held)

    def _outcome(self, one: Asked, made: Generated) -> Outcome | None:
        """What an answer comes to; None if it is to be asked again."""
        row, held = one.held.row, one.held
        failure = failure_of(made)
        # What the engine refuses it would refuse again; an empty answer may be followed by another.
        if failure and failure["error"] != EMPTY:
            return failure
        if fault := self._check(self._asking.said(row, one.name, one.ask, made)):
            held.faults.setdefault(one.name, []).append(fault.check)
            attempts = one.attempt + 1
            most = first_attempt(row, one.name) + self._attempts
            return exhausted(fault, made, attempts) if attempts >= most else None
        if failure:
            return failure
        values = self._asking.values(
            row, one.name, one.attempt, one.ask, made, self._engine, held.sha256
        )
        held.made[one.name] = made.text
        return {**values, "faults": held.faults.get(one.name, [])}

    def _fail(self, one: Asked, failure: TableFailure) -> None:
        """Ends a question that the engine was not asked."""
        self._settle(one.held, one.name, failure)
        one.held.live -= 1
        self._end(one.held)

    def _settle(self, held: Held, name: str, outcome: Outcome) -> None:
        """Notes what a variant came to, and asks those that are made of it."""
        held.values[f"caption.{name}"] = outcome
        children = self._asking.children(name, held.wanted)
        if name in held.made:
            self._ask(held, children)
            return
        for child in children:
            self._settle(held, child, of_parent(name, outcome))

    def _end(self, held: Held) -> None:
        """Gives a row back if nothing that was asked about it is left."""
        if held.live:
            return
        self._under_way -= 1
        found = list(held.values.values())
        if held.broken and all(one is held.broken for one in found):
            reason, detail = held.broken["error"], held.broken["detail"]
            self._done.append(RowFailure(held.row, reason, detail))
        else:
            self._done.append(Result(held.row, held.values))
