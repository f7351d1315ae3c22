"""Moves rows through captioners: threads prepare pictures, the caller's thread runs the engines.

    row -> questions -> [waiting] -> a thread decodes and prepares -> [ready] -> an engine
               ^                                                                   |
               +-------- next attempt, or a child variant <------- checks <--------+

A picture is prepared once for all questions that a model is asked about it at a time. Each model
has a queue of its own (`lanes`). Each variant of a row ends on its own, with a caption or a
failure; the row ends when its last variant does.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nucleus_data.engines.captioner import Generated
from nucleus_data.engines.refusals import raised
from nucleus_data.stage import Result, Row, RowFailure, TableFailure
from nucleus_data.stages.caption.asking import AskError
from nucleus_data.stages.caption.checks import Fault
from nucleus_data.stages.caption.ends import exhausted, of_parent, stage_raised
from nucleus_data.stages.caption.failures import EMPTY, failure_of
from nucleus_data.stages.caption.lanes import Lane
from nucleus_data.stages.caption.rounds import Asked, Clock, Held, Round, first_attempt

POLL_S = 0.005
Check = Callable[[Any], Fault | None]
Outcome = Mapping[str, Any] | TableFailure


class Flow:
    """The pipeline of rows through one or more engines.

    Args:
        lanes: One lane per model, with the same settings except for the model's own.
        threads: Number of threads that prepare pictures.
        clock: Accumulates how long engines worked and waited.
        check: Returns what is wrong with an answer; None to use the configured checks.
    """

    def __init__(
        self, lanes: Sequence[Lane], threads: int, clock: Clock, check: Check | None = None
    ) -> None:
        self._lanes = lanes
        self._lane_of = {name: lane for lane in lanes for name in lane.variants}
        self._asking = lanes[0].asking  # for questions that do not depend on the model
        self._attempts = self._asking.settings.attempts
        self._check = check
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="caption")
        self._done: deque[Result | RowFailure] = deque()
        self._under_way = 0

    def run(self, rows: Iterator[Row | None]) -> Iterator[Result | RowFailure]:
        """Yields the outcome of each row; a None among the rows makes it work on those it holds."""
        try:
            for row in rows:
                if row is None:
                    self._work()
                else:
                    self._take(row)
                    while self._crowded():
                        self._fill()
                        if self._crowded():  # otherwise the next row can be taken at once
                            self._work()
                        yield from self._given()
                yield from self._given()
            while self._under_way:
                self._work()
                yield from self._given()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _given(self) -> Iterator[Result | RowFailure]:
        # Outcomes are held back until the first truth tests, so that bad captions are not stored.
        if self._under_way and any(lane.probes.hold_back for lane in self._lanes):
            return
        while self._done:
            yield self._done.popleft()

    def _take(self, row: Row) -> None:
        """Asks the first questions about a row."""
        if row.image is None:
            self._done.append(RowFailure(row, "no_image"))
            return
        wanted = {table.removeprefix("caption.") for table in row.wanted}
        wanted &= self._lane_of.keys()
        held = Held(row, wanted)
        self._under_way += 1
        held.live += 1  # so that the row does not end while its questions are being queued
        self._ask(held, self._asking.roots(wanted))
        held.live -= 1
        self._end(held)

    def _ask(self, held: Held, names: Sequence[str], attempt: int | None = None) -> None:
        """Queues questions about a row; without `attempt`, the first attempt of each variant."""
        asked: dict[Lane, dict[str, Asked]] = {}
        for name in names:
            lane = self._lane_of[name]
            number = first_attempt(held.row, name) if attempt is None else attempt
            try:
                ask = lane.asking.ask(held.row, name, number, held.made)
            except AskError as error:
                self._settle(held, name, error.failure)
            except Exception as error:
                self._settle(held, name, stage_raised(error))
            else:
                asked.setdefault(lane, {})[ask.key] = Asked(held, name, number, ask)
        held.live += sum(map(len, asked.values()))
        for lane, questions in asked.items():
            lane.put(Round(held, questions), self._pool)

    def _work(self) -> None:
        """Fills and steps the engines; if all are idle, waits for the preparing threads."""
        self._fill()
        start = time.perf_counter()
        at_work = [lane for lane in self._lanes if lane.engine.pending()]
        lost = [lane for lane in self._lanes if lane.asked and lane not in at_work]
        answers = [(lane, made) for lane in lost for made in lane.lost()]
        if at_work:
            for lane in at_work:
                others = [other for other in self._lanes if other != lane]
                answers += [(lane, made) for made in lane.step(others)]
            self._clock.add(busy=time.perf_counter() - start)
        elif not answers and (waits := [lane for lane in self._lanes if lane.preparing]):
            waits[0].has_next(POLL_S / len(waits))
            self._clock.add(waited=time.perf_counter() - start)
        for lane, made in answers:
            self._answer(lane, made)
        for lane in self._lanes:
            if not lane.engine.pending() and lane.probes.due(idle=not self._under_way):
                model = lane.asking.settings.model if len(self._lanes) > 1 else ""
                lane.probes.ask_alone(lane.engine, model)

    def _crowded(self) -> bool:
        return any(lane.crowded for lane in self._lanes)

    def _fill(self) -> None:
        """Submits prepared rounds as long as the engines have room."""
        for lane in self._lanes:
            while not lane.probes.due(idle=False) and self._ready(lane) and self._submit(lane):
                pass

    def _ready(self, lane: Lane) -> bool:
        """Whether a lane has a prepared round; a lane that takes turns waits for its threads."""
        if not lane.takes_turns:
            return lane.has_next()
        start = time.perf_counter()
        ready = lane.has_next()
        self._clock.add(waited=time.perf_counter() - start)
        return ready

    def _submit(self, lane: Lane) -> bool:
        """Submits the next prepared round to its engine; False if there is no room for it."""
        round_ = lane.take()
        if round_ is None:
            return False
        lane.hand_out(self._pool)
        asked = dict(round_.asked)
        if round_.broken:
            failure = TableFailure(error=str(round_.broken.reason), detail=round_.broken.detail)
            round_.held.broken = failure
            for key in [key for key, question in asked.items() if question.ask.sees_picture]:
                self._fail(asked.pop(key), failure)
        lane.asked |= asked
        for question in asked.values():
            lane.probes.taken(round_.held.row, question.name, question.ask, round_.picture)
        error, failed = round_.error, []
        if round_.prepared is not None:
            failed = list(round_.prepared.failed)
            try:
                lane.engine.submit(round_.prepared)
            except Exception as raised_error:  # if the engine is broken, `step` raises as well
                error = raised_error
        for made in failed if error is None else [raised(key, error) for key in asked]:
            self._answer(lane, made)
        return True

    def _answer(self, lane: Lane, made: Generated) -> None:
        """Handles an answer: settles the variant, or queues its next attempt."""
        lane.probes.said(made)
        question = lane.asked.pop(made.key, None)
        # A duplicate answer, or one to a question from before the stage raised: ignore it.
        if question is None:
            return
        held = question.held
        try:
            outcome = self._outcome(lane, question, made)
            if outcome is not None and outcome.get("error"):
                outcome = {**outcome, "values": self._provenance(lane, question, made)}
        except Exception as error:
            outcome = stage_raised(error)
        if outcome is not None and outcome.get("error"):
            outcome = {**outcome, "attempts": question.attempt + 1}
        if outcome is None:
            self._ask(held, [question.name], question.attempt + 1)
        else:
            self._settle(held, question.name, outcome)
        held.live -= 1
        self._end(held)

    def _outcome(self, lane: Lane, question: Asked, made: Generated) -> Outcome | None:
        """Returns a caption's table row or a failure; None if the question must be asked again."""
        row, held = question.held.row, question.held
        failure = failure_of(made)
        # The engine would refuse the same request again, but may follow an empty answer by another.
        if failure and failure["error"] != EMPTY:
            return failure
        check = self._check or lane.asking.fault
        if fault := check(lane.asking.said(row, question.name, question.ask, made)):
            held.faults.setdefault(question.name, []).append(fault.check)
            attempts = question.attempt + 1
            most = first_attempt(row, question.name) + self._attempts
            return exhausted(fault, made, attempts) if attempts >= most else None
        if failure:
            return failure
        values = {"caption": made.text, **self._provenance(lane, question, made)}
        held.made[question.name] = made.text
        return values

    def _provenance(self, lane: Lane, question: Asked, made: Generated) -> dict[str, Any]:
        held, name = question.held, question.name
        how = lane.asking.provenance(
            held.row, name, question.attempt, question.ask, made, lane.engine, held.sha256
        )
        return {**how, "faults": held.faults.get(name, [])}

    def _fail(self, question: Asked, failure: TableFailure) -> None:
        """Fails a question that was not submitted to the engine."""
        self._settle(question.held, question.name, failure)
        question.held.live -= 1
        self._end(question.held)

    def _settle(self, held: Held, name: str, outcome: Outcome) -> None:
        """Records a variant's outcome, and asks (or fails) its children."""
        held.values[f"caption.{name}"] = outcome
        children = self._asking.children(name, held.wanted)
        if name in held.made:
            self._ask(held, children)
            return
        for child in children:
            self._settle(held, child, of_parent(name, outcome))

    def _end(self, held: Held) -> None:
        """Finishes a row if no question about it is open."""
        if held.live:
            return
        self._under_way -= 1
        outcomes = list(held.values.values())
        if held.broken and all(outcome is held.broken for outcome in outcomes):
            reason, detail = held.broken["error"], held.broken["detail"]
            self._done.append(RowFailure(held.row, reason, detail))
        else:
            self._done.append(Result(held.row, held.values))
