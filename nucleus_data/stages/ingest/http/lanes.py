"""Lanes: the URLs of one host, its limits and its registered domain's; and whose turn it is."""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from nucleus_data.stages.ingest.http.breaker import Breaker
from nucleus_data.stages.ingest.http.failures import Failure
from nucleus_data.stages.ingest.http.told import HostCounts


@dataclass(eq=False, slots=True)
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
    seen: tuple[str, ...] = ()
    last: Failure | None = None


@dataclass(slots=True)
class Bounds:
    """Limits on connections and rate, and what counts against them.

    Attributes:
        connections: How many at a time; below 1, a single one with pauses in between.
        interval: Seconds between requests.
        active: Connections now.
        next_at: When the next request may begin.
        most: Whole connections at a time.
        rest: Seconds to pause for each second of a request, where less than one is allowed.
        before: `next_at` as it was before the last request, and as that left it.
    """

    connections: float
    interval: float
    active: int = 0
    next_at: float = 0.0
    most: int = field(init=False)
    rest: float = field(init=False)
    before: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.most = max(1, math.floor(self.connections))
        self.rest = max(0.0, 1 / self.connections - 1)

    def slow_down(self, connections: float, interval: float) -> None:
        """Takes stricter limits; those that are stricter already stay."""
        self.connections = min(self.connections, connections)
        self.interval = max(self.interval, interval)
        self.__post_init__()

    @property
    def full(self) -> bool:
        """Whether no further connection is allowed now."""
        return self.active >= self.most

    def begin(self, now: float) -> None:
        """Counts a request."""
        self.active += 1
        earlier, self.next_at = self.next_at, max(now, self.next_at) + self.interval
        self.before = earlier, self.next_at

    def end(self, now: float, seconds: float) -> None:
        """Counts the end of a request that took so long."""
        self.active -= 1
        if self.rest:
            self.next_at = max(self.next_at, now + seconds * self.rest)

    def unused(self) -> None:
        """Takes a request back that was not made after all."""
        self.active -= 1
        if self.next_at == self.before[1]:
            self.next_at = self.before[0]


@dataclass(eq=False, slots=True)
class Domain:
    """A registered domain: its limits, and the lanes that wait for them."""

    bounds: Bounds
    waiting: deque["Lane"] = field(default_factory=deque)


@dataclass(eq=False, slots=True)
class Lane:
    """The URLs of one host.

    Attributes:
        host: The host.
        bounds: Its limits.
        domain: Its registered domain.
        breaker: Its breaker.
        workers: How many workers share its limits.
        jobs: URLs to ask now.
        known: Whether its robots.txt was read; until then one URL goes ahead alone.
        waiting: Whether it is in the backlog, or waits for its domain.
        ticket: The number of its turn; 0 while it has none.
        second: Whether that turn is for a further connection beside others.
        closed: Why it is left alone for good.
        told: What became of it, for people.
    """

    host: str
    bounds: Bounds
    domain: Domain
    breaker: Breaker
    workers: int = 1
    jobs: deque[Job] = field(default_factory=deque)
    known: bool = False
    waiting: bool = False
    ticket: int = 0
    second: bool = False
    closed: str | None = None
    told: HostCounts = field(default_factory=HostCounts)

    @property
    def full(self) -> bool:
        """Whether no further request is allowed now."""
        active = self.bounds.active
        if active and (not self.known or self.breaker.probing):
            return True  # one at a time
        return active >= self.bounds.most


class Turns:
    """Lanes by the time of their turn; those that have a connection already go after the others.

    So a host is asked on one connection, which is kept, as long as there are other hosts to ask.
    """

    def __init__(self) -> None:
        self._first: list[tuple[float, int, Lane]] = []
        self._second: list[tuple[float, int, Lane]] = []
        self._number = count(1)

    def put(self, lane: Lane, at: float) -> None:
        """Gives a lane its turn, in place of one that it has."""
        lane.ticket, lane.second = next(self._number), lane.bounds.active > 0
        heap = self._second if lane.second else self._first
        heapq.heappush(heap, (at, lane.ticket, lane))

    def first(self, now: float) -> Lane | None:
        """The next lane without a connection, if its time has come."""
        return _popped(self._first, now)

    def second(self, now: float) -> Lane | None:
        """The next lane for a further connection, if its time has come."""
        return _popped(self._second, now)

    def next_at(self) -> float | None:
        """When the next turn is."""
        tops = [heap[0][0] for heap in (self._first, self._second) if _cleaned(heap)]
        return min(tops, default=None)


def _popped(heap: list[tuple[float, int, Lane]], now: float) -> Lane | None:
    if not _cleaned(heap) or heap[0][0] > now:
        return None
    lane = heapq.heappop(heap)[2]
    lane.ticket = 0
    return lane


def _cleaned(heap: list[tuple[float, int, Lane]]) -> bool:
    """Takes old turns from the top; returns whether something is left."""
    while heap and heap[0][1] != heap[0][2].ticket:
        heapq.heappop(heap)
    return bool(heap)
