"""Lanes: queues of the URLs of one host, with the limits of host and domain, ordered by turns."""

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
    """A URL to fetch.

    Attributes:
        index: Its index among the URLs.
        first: The original URL.
        url: The URL to request next, which differs after redirects.
        host: The host of `url`.
        attempt: Number of the attempt, from 1.
        seen: URLs that redirected.
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
    """Limits on connections and request rate, and their current use.

    Attributes:
        connections: Maximum connections; below 1, a single one with pauses in between.
        interval: Minimum seconds between requests.
        active: Current number of connections.
        next_at: When the next request may begin.
        most: Maximum number of connections, as an integer.
        rest: Seconds to pause per second of a request, if `connections` is below 1.
        before: `next_at` before and after the last request began, so that it can be undone.
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
        """Tightens the limits; a limit that is already stricter stays."""
        self.connections = min(self.connections, connections)
        self.interval = max(self.interval, interval)
        self.__post_init__()

    @property
    def full(self) -> bool:
        """Whether no further connection is allowed now."""
        return self.active >= self.most

    def begin(self, now: float) -> None:
        """Notes the beginning of a request."""
        self.active += 1
        earlier, self.next_at = self.next_at, max(now, self.next_at) + self.interval
        self.before = earlier, self.next_at

    def end(self, now: float, seconds: float) -> None:
        """Notes the end of a request that took `seconds`."""
        self.active -= 1
        if self.rest:
            self.next_at = max(self.next_at, now + seconds * self.rest)

    def unused(self) -> None:
        """Undoes `begin` for a request that was not made after all."""
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
        jobs: URLs that are ready to be requested.
        known: Whether its robots.txt was read; until then, only one URL is processed.
        waiting: Whether it is in the backlog, or waiting for its domain.
        ticket: Number of its entry in `Turns`; 0 if it has none.
        second: Whether that entry is for an additional connection.
        closed: Why the host was given up, if it was.
        told: The host's counts, for people.
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
    """A queue of lanes by the time of their turn; lanes without a connection come first.

    So each host is requested over one, persistent, connection as long as other hosts are waiting.
    """

    def __init__(self) -> None:
        self._first: list[tuple[float, int, Lane]] = []
        self._second: list[tuple[float, int, Lane]] = []
        self._number = count(1)

    def put(self, lane: Lane, at: float) -> None:
        """Schedules a lane, replacing an earlier entry."""
        lane.ticket, lane.second = next(self._number), lane.bounds.active > 0
        heap = self._second if lane.second else self._first
        heapq.heappush(heap, (at, lane.ticket, lane))

    def first(self, now: float) -> Lane | None:
        """Returns the next lane without a connection, if its time has come; otherwise None."""
        return _popped(self._first, now)

    def second(self, now: float) -> Lane | None:
        """Returns the next lane for a further connection, if its time has come; otherwise None."""
        return _popped(self._second, now)

    def next_at(self) -> float | None:
        """Returns the time of the next turn; None if there is none."""
        tops = [heap[0][0] for heap in (self._first, self._second) if _cleaned(heap)]
        return min(tops, default=None)


def _popped(heap: list[tuple[float, int, Lane]], now: float) -> Lane | None:
    if not _cleaned(heap) or heap[0][0] > now:
        return None
    lane = heapq.heappop(heap)[2]
    lane.ticket = 0
    return lane


def _cleaned(heap: list[tuple[float, int, Lane]]) -> bool:
    """Removes replaced entries from the top of a heap; returns whether it has any entry left."""
    while heap and heap[0][1] != heap[0][2].ticket:
        heapq.heappop(heap)
    return bool(heap)
