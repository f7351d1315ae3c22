"""Whose turn it is: hosts one after the other, each within its limits and its domain's.

A lane holds the URLs of one host. A lane that has to wait (its rate, a Retry-After, its breaker, a
domain that is busy) holds nobody: the next one goes. Lanes are opened only while no other is ready,
so that connections can be kept and there are not too many of them.
"""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from nucleus_data.stages.ingest.http.breaker import Breaker
from nucleus_data.stages.ingest.http.failures import Failure
from nucleus_data.stages.ingest.http.told import HostCounts


@dataclass(eq=False)
class Job:
    """A URL on its way.

    Attributes:
        index: Its place among the URLs asked.
        first: The URL as it was first asked.
        url: The URL to ask now: another one after redirects.
        host: Its host.
        attempt: Attempts begun, from 1.
        seen: URLs that it was led through.
        last: Why the last attempt failed.
    """

    index: int
    first: str
    url: str
    host: str
    attempt: int = 1
    seen: list[str] = field(default_factory=list)
    last: Failure | None = None


@dataclass
class Bounds:
    """Limits on connections and rate, and what counts against them.

    Attributes:
        connections: How many at a time; below 1, a single one with pauses in between.
        interval: Seconds between requests.
        active: Connections now.
        next_at: When the next request may begin.
        rest: Seconds to pause for each second of a request, where less than one is allowed.
    """

    connections: float
    interval: float
    active: int = 0
    next_at: float = 0.0
    rest: float = field(init=False)

    def __post_init__(self) -> None:
        self.rest = max(0.0, 1 / self.connections - 1)

    @property
    def full(self) -> bool:
        """Whether no further connection is allowed now."""
        return self.active >= max(1, math.floor(self.connections))

    def begin(self, now: float) -> None:
        """Counts a request."""
        self.active += 1
        self.next_at = max(now, self.next_at) + self.interval

    def end(self, now: float, seconds: float) -> None:
        """Counts the end of a request that took so long."""
        self.active -= 1
        self.next_at = max(self.next_at, now + seconds * self.rest)


@dataclass(eq=False)
class Domain:
    """A registered domain: its limits, and the lanes that wait for them."""

    bounds: Bounds
    waiting: deque["Lane"] = field(default_factory=deque)


@dataclass(eq=False)
class Lane:
    """The URLs of one host.

    Attributes:
        host: The host.
        bounds: Its limits.
        domain: Its registered domain.
        breaker: Its breaker.
        jobs: URLs to ask now.
        known: Whether its robots.txt was read; until then one URL goes ahead alone.
        placed: Whether it is in the heap, in the backlog, or waits for its domain.
        closed: Why it is left alone for good.
        told: What became of it, for people.
    """

    host: str
    bounds: Bounds
    domain: Domain
    breaker: Breaker
    jobs: deque[Job] = field(default_factory=deque)
    known: bool = False
    placed: bool = False
    closed: str | None = None
    told: HostCounts = field(default_factory=HostCounts)

    @property
    def full(self) -> bool:
        """Whether no further request is allowed now."""
        alone = self.breaker.probing or not self.known
        return self.bounds.full or (alone and self.bounds.active > 0)


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
        self._heap: list[tuple[float, int, Lane]] = []
        self._backlog: deque[Lane] = deque()
        self._sleepers: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._number = count()

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
        if not lane.placed:
            lane.placed = True
            self._backlog.append(lane)
            self._wake()

    def move(self, job: Job) -> None:
        """Takes a URL that was led to another host, before that host's others."""
        lane = self.lane(job.host)
        lane.jobs.appendleft(job)
        self._place(lane)

    def again(self, job: Job, wait: float) -> None:
        """Takes a URL back, to be asked again after so many seconds."""
        lane = self.lane(job.host)
        asyncio.get_running_loop().call_later(wait, self._back, lane, job)

    def pause(self, lane: Lane, seconds: float) -> None:
        """Leaves a host alone for so many seconds."""
        lane.told.slowed_s += seconds
        lane.bounds.next_at = max(lane.bounds.next_at, self._clock() + seconds)

    def open(self, lane: Lane) -> None:
        """Notes that a host's robots.txt was read just now: its other URLs may follow."""
        lane.known = True
        lane.bounds.next_at = max(lane.bounds.next_at, self._clock() + lane.bounds.interval)
        self._place(lane)

    def end(self, lane: Lane, seconds: float) -> None:
        """Notes that a request ended, after so many seconds."""
        now = self._clock()
        lane.bounds.end(now, seconds)
        lane.domain.bounds.end(now, seconds)
        if lane.domain.waiting:
            other = lane.domain.waiting.popleft()
            other.placed = False
            self._place(other)
        self._place(lane)

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
            self._set_alarm()
            await sleeper
        return None

    def _next(self) -> tuple[Job, Lane] | None:
        now = self._clock()
        while True:
            if not self._heap or self._heap[0][0] > now:
                if not self._backlog:
                    return None
                lane = self._backlog.popleft()
            else:
                lane = heapq.heappop(self._heap)[2]
            lane.placed = False
            if not lane.jobs:
                continue
            if lane.closed is not None:
                job = lane.jobs.popleft()
                self._place(lane)
                return job, lane
            if self._blocked(lane, now):
                continue
            job = lane.jobs.popleft()
            lane.bounds.begin(now)
            lane.domain.bounds.begin(now)
            self._place(lane)
            return job, lane

    def _blocked(self, lane: Lane, now: float) -> bool:
        """Whether a lane has to wait; then it waits where it is woken."""
        if lane.full:
            return True  # the end of its request places it
        if lane.domain.bounds.full:
            lane.placed = True
            lane.domain.waiting.append(lane)
            return True
        if max(lane.bounds.next_at, lane.domain.bounds.next_at) > now:
            self._place(lane)
            return True
        return False

    def _place(self, lane: Lane) -> None:
        """Puts a lane where its turn comes, unless it is there or has nothing to give."""
        if lane.placed or not lane.jobs:
            return
        at = 0.0
        if lane.closed is None:
            if lane.full:
                return
            at = max(lane.bounds.next_at, lane.domain.bounds.next_at)
        lane.placed = True
        heapq.heappush(self._heap, (max(at, self._clock()), next(self._number), lane))
        self._wake()

    def _back(self, lane: Lane, job: Job) -> None:
        lane.jobs.append(job)
        self._place(lane)

    def _wake(self) -> None:
        while self._sleepers:
            sleeper = self._sleepers.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                return

    def _rouse(self) -> None:
        """Wakes the next sleeper if there is more to give: now, or when its turn comes."""
        if self._sleepers:
            if self._backlog or (self._heap and self._heap[0][0] <= self._clock()):
                self._wake()
            else:
                self._set_alarm()

    def _set_alarm(self) -> None:
        """Wakes a sleeper when the first lane's turn comes."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._heap:
            loop = asyncio.get_running_loop()
            # The event loop's timers may be early by their resolution.
            at = max(self._heap[0][0], self._clock()) + 0.0005
            self._alarm = loop.call_at(at, self._wake)
