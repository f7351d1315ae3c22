"""Whose turn it is: hosts one after the other, each within its limits and its domain's.

A lane holds the URLs of one host. A lane that has to wait (its rate, a Retry-After, its breaker, a
domain that is busy) holds nobody: the next one goes. Lanes are opened only while no other is ready,
so that connections can be kept and there are not too many of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from nucleus_data.stages.ingest.http.lanes import Job, Lane, Turns


class Schedule:
    """Gives URLs out, host by host.

    Args:
        make_lane: Makes the lane of a host.
        clock: Seconds, as the event loop counts them.
    """

    def __init__(self, make_lane: Callable[[str], Lane], clock: Callable[[], float]) -> None:
        self.lanes: dict[str, Lane] = {}
        self.remaining = 0
        self._make, self._clock = make_lane, clock
        self._turns = Turns()
        self._backlog: deque[Lane] = deque()
        self._sleepers: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0

    def lane(self, host: str) -> Lane:
        """The lane of a host."""
        if host not in self.lanes:
            self.lanes[host] = self._make(host)
        return self.lanes[host]

    def add(self, job: Job) -> None:
        """Takes a new URL."""
        self.remaining += 1
        lane = self.lane(job.host)
        lane.jobs.append(job)
        if not lane.waiting and not lane.ticket:
            lane.waiting = True
            self._backlog.append(lane)
            self._wake()

    def move(self, job: Job) -> None:
        """Takes a URL that was led to another host, before that host's others."""
        lane = self.lane(job.host)
        lane.jobs.appendleft(job)
        self._place(lane, self._clock())  # who moves it is to `take` again

    def again(self, job: Job, wait: float) -> None:
        """Takes a URL back, to be asked again after so many seconds."""
        lane = self.lane(job.host)
        asyncio.get_running_loop().call_later(wait, self._back, lane, job)

    def pause(self, lane: Lane, seconds: float) -> None:
        """Leaves a host alone for so many seconds."""
        lane.told.slowed_s += seconds
        lane.bounds.next_at = max(lane.bounds.next_at, self._clock() + seconds)

    def open(self, lane: Lane, job: Job) -> None:
        """Notes that a host's robots.txt was read just now: its URLs may follow, this one first.

        `end` is to be called then.
        """
        lane.known = True
        lane.bounds.next_at = max(lane.bounds.next_at, self._clock() + lane.bounds.interval)
        lane.jobs.appendleft(job)

    def unused(self, lane: Lane) -> None:
        """Notes that a URL was not asked after all, in place of `end`: it costs no turn."""
        lane.bounds.unused()
        lane.domain.bounds.unused()
        lane.ticket = 0  # of a turn that was to be later
        self._ended(lane, self._clock())

    def end(self, lane: Lane, seconds: float) -> None:
        """Notes that a request ended, after so many seconds; its worker is to `take` again."""
        now = self._clock()
        lane.bounds.end(now, seconds)
        lane.domain.bounds.end(now, seconds)
        self._ended(lane, now)

    def _ended(self, lane: Lane, now: float) -> None:
        if lane.domain.waiting:
            other = lane.domain.waiting.popleft()
            other.waiting = False
            self._place(other, now)
        self._place(lane, now)

    def over(self) -> None:
        """Notes that a URL has its outcome."""
        self.remaining -= 1
        if not self.remaining:
            while self._sleepers:
                self._wake()

    async def take(self) -> tuple[Job, Lane] | None:
        """The next URL, once there is one; None when all have their outcome.

        A URL of a closed lane is no request: `end` is not to be called for it.
        """
        while self.remaining:
            if (found := self._next()) is not None:
                self._rouse()
                return found
            sleeper = asyncio.get_running_loop().create_future()
            self._sleepers.append(sleeper)
            self._set_alarm(self._turns.next_at())
            await sleeper
        return None

    def _next(self) -> tuple[Job, Lane] | None:
        now = self._clock()
        while True:
            lane = self._turns.first(now)
            if lane is None and self._backlog:
                lane = self._backlog.popleft()
                lane.waiting = False
            lane = lane or self._turns.second(now)
            if lane is None:
                return None
            if not lane.jobs:
                continue
            if lane.closed is not None:
                job = lane.jobs.popleft()
                self._place(lane, now)
                return job, lane
            if self._blocked(lane, now):
                continue
            job = lane.jobs.popleft()
            lane.bounds.begin(now)
            lane.domain.bounds.begin(now)
            self._place(lane, now)
            return job, lane

    def _blocked(self, lane: Lane, now: float) -> bool:
        """Whether a lane has to wait; then it waits where it is woken."""
        if lane.full:
            return True  # the end of its request places it
        if lane.domain.bounds.full:
            lane.waiting = True
            lane.domain.waiting.append(lane)
            return True
        if max(lane.bounds.next_at, lane.domain.bounds.next_at) > now:
            self._place(lane, now)
            return True
        return False

    def _place(self, lane: Lane, now: float) -> bool:
        """Gives a lane its turn, unless it has one or has nothing to give."""
        if lane.waiting or not lane.jobs:
            return False
        if lane.ticket and (not lane.second or lane.bounds.active):
            return False
        at = 0.0
        if lane.closed is None:
            if lane.full:
                return False
            at = max(lane.bounds.next_at, lane.domain.bounds.next_at)
        self._turns.put(lane, max(at, now))
        return True

    def _back(self, lane: Lane, job: Job) -> None:
        lane.jobs.append(job)
        if self._place(lane, self._clock()):
            self._rouse()

    def _wake(self) -> None:
        while self._sleepers:
            sleeper = self._sleepers.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                return

    def _rouse(self) -> None:
        """Wakes the next sleeper if there is more to give: now, or when its turn comes."""
        if self._sleepers:
            at = self._turns.next_at()
            if self._backlog or (at is not None and at <= self._clock()):
                self._wake()
            else:
                self._set_alarm(at)

    def _set_alarm(self, at: float | None) -> None:
        """Wakes a sleeper when the first lane's turn comes."""
        if at is None or (self._alarm is not None and self._alarm_at <= at):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        # The event loop's timers may be early by their resolution.
        self._alarm = asyncio.get_running_loop().call_at(at + 0.0005, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._wake()
