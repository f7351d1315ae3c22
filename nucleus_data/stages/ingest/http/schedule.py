"""Schedules requests: takes turns among hosts, within the limits of each host and domain.

A lane holds the URLs of one host. If a lane has to wait (for its rate limit, a Retry-After, its
breaker or a busy domain), the next one takes its turn. New lanes are opened only if no open lane is
ready, so that connections are reused and there are not too many of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from nucleus_data.stages.ingest.http.lanes import Job, Lane, Turns


class Schedule:
    """Hands out URLs, taking turns among hosts.

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
        """Returns the lane of a host, creating it if necessary."""
        if host not in self.lanes:
            self.lanes[host] = self._make(host)
        return self.lanes[host]

    def add(self, job: Job) -> None:
        """Adds a new URL."""
        self.remaining += 1
        lane = self.lane(job.host)
        lane.jobs.append(job)
        if not lane.waiting and not lane.ticket:
            lane.waiting = True
            self._backlog.append(lane)
            self._wake()

    def move(self, job: Job) -> None:
        """Puts a redirected URL at the head of its new host's lane."""
        lane = self.lane(job.host)
        lane.jobs.appendleft(job)
        self._place(lane, self._clock())  # no need to wake a worker: the caller calls `take` next

    def again(self, job: Job, wait: float) -> None:
        """Puts a URL back after `wait` seconds, for a retry."""
        lane = self.lane(job.host)
        asyncio.get_running_loop().call_later(wait, self._back, lane, job)

    def pause(self, lane: Lane, seconds: float) -> None:
        """Pauses a host for so many seconds."""
        lane.told.slowed_s += seconds
        lane.bounds.next_at = max(lane.bounds.next_at, self._clock() + seconds)

    def open(self, lane: Lane, job: Job) -> None:
        """Notes that a host's robots.txt has just been read: its URLs may follow, `job` first.

        The caller must call `end` afterwards.
        """
        lane.known = True
        lane.bounds.next_at = max(lane.bounds.next_at, self._clock() + lane.bounds.interval)
        lane.jobs.appendleft(job)

    def unused(self, lane: Lane) -> None:
        """Called instead of `end` if a URL was not requested after all: it uses no turn."""
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
        """Waits for the next URL; returns None when all URLs are done.

        If its lane is closed, the URL must not be requested, and `end` must not be called.
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
        """Returns whether a lane has to wait; if so, it is queued where it will be woken."""
        if lane.full:
            return True  # it is scheduled again when its current request ends
        if lane.domain.bounds.full:
            lane.waiting = True
            lane.domain.waiting.append(lane)
            return True
        if max(lane.bounds.next_at, lane.domain.bounds.next_at) > now:
            self._place(lane, now)
            return True
        return False

    def _place(self, lane: Lane, now: float) -> bool:
        """Schedules a lane, unless it already is or has no URLs; returns whether it did."""
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
        """Wakes the next waiting worker if there is more to do, now or when the next turn comes."""
        if self._sleepers:
            at = self._turns.next_at()
            if self._backlog or (at is not None and at <= self._clock()):
                self._wake()
            else:
                self._set_alarm(at)

    def _set_alarm(self, at: float | None) -> None:
        """Sets a timer that wakes a worker when the next turn comes."""
        if at is None or (self._alarm is not None and self._alarm_at <= at):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        # A little later, as the event loop's timers may fire early by their resolution.
        self._alarm = asyncio.get_running_loop().call_at(at + 0.0005, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._wake()
