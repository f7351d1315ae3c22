"""The built-in fetcher: requests many URLs concurrently, each of which fails on its own.

Requests are made in one asyncio loop (`client`), in the order given by `schedule`, and each outcome
is on disk (`spool`) before its URL counts as done. Identical URLs are requested once. In Python:

    for outcome in fetch_urls(["https://example.org/a.jpg"], FetchSettings(), 1 << 28, folder):
        print(outcome.reason, len(outcome.data or b""))
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nucleus_data.domains import registered_domain
from nucleus_data.stages.ingest.fetch_settings import FetchSettings
from nucleus_data.stages.ingest.http.addresses import PLAIN, checked
from nucleus_data.stages.ingest.http.agent import TOKEN
from nucleus_data.stages.ingest.http.breaker import Breaker
from nucleus_data.stages.ingest.http.client import Answer, Client
from nucleus_data.stages.ingest.http.failures import Failure
from nucleus_data.stages.ingest.http.lanes import Bounds, Domain, Job, Lane
from nucleus_data.stages.ingest.http.outcome import Download
from nucleus_data.stages.ingest.http.resolver import CheckedResolver, Lookup
from nucleus_data.stages.ingest.http.robots import REFUSALS, Robots, Rules
from nucleus_data.stages.ingest.http.running import run
from nucleus_data.stages.ingest.http.schedule import Schedule
from nucleus_data.stages.ingest.http.spool import PICTURE, PIECE, Body, Spool
from nucleus_data.stages.ingest.http.told import HOSTS, HostCounts, tell
from nucleus_data.stages.ingest.http.waits import backoff
from nucleus_data.stages.ingest.reasons import is_retryable

# Outcomes are written in batches: every so many seconds, or when there are so many.
WRITE_S, MOST_UNWRITTEN = 0.005, 32
TELL_S = 1.0  # interval of progress reports, in seconds
# Failures that say nothing about the host's health, as it was not requested.
_UNASKED = {"dns", "private_address", "bad_url", *REFUSALS}


def fetch_urls(
    urls: Sequence[str | None],
    settings: FetchSettings,
    most_bytes: int,
    folder: Path,
    *,
    share: Callable[[str], int] = lambda domain: 1,
    lookup: Lookup | None = None,
    refused: Callable[[str], Failure | None] = lambda url: None,
) -> Iterator[Download]:
    """Fetches URLs; yields one outcome each, in order, after all of them are done.

    Args:
        urls: URLs as they came.
        settings: Limits, retries, and what to obey.
        most_bytes: Maximum size of a picture, in bytes.
        folder: Folder for outcomes. If a killed process left some there, it is resumed. In the end
            it also has `hosts.json`, with one row per host; meanwhile `now.json`, the counts so
            far.
        share: Returns how many workers share the limits of a registered domain and its hosts.
        lookup: Returns all addresses of a host; by default, asks the name server.
        refused: Returns why a redirect to a URL is not followed; None where it is.
    """
    found = [checked(url or "") for url in urls]
    places: dict[str, int] = {}
    for item in found:
        if item.url is not None:
            places.setdefault(item.url, len(places))
    with Spool(folder, _digest(list(places), settings, most_bytes)) as spool:
        hosts = {item.url: item.host for item in found}
        todo = [
            Job(place, url, url, hosts[url]) for url, place in places.items() if place not in spool
        ]
        if todo:
            fetcher = _Fetcher(settings, spool, share, refused)
            run(fetcher.run(todo, most_bytes, folder, lookup))
            (folder / HOSTS).write_text(json.dumps(fetcher.hosts()))
        spool.flush()
        for item in found:
            if item.url is not None:
                yield spool.read(places[item.url])
            else:
                reason = item.reason or "bad_url"
                yield Download(None, reason, item.detail, is_retryable(reason))


def host_of(url: str) -> str:
    """Returns the host of a checked URL."""
    plain = PLAIN.fullmatch(url)
    return plain[1] if plain else urlsplit(url).hostname or ""


def _digest(urls: list[str], settings: FetchSettings, most_bytes: int) -> str:
    options = json.dumps([settings.model_dump(mode="json"), most_bytes], sort_keys=True)
    return hashlib.sha256("\n".join([options, *urls]).encode()).hexdigest()


class _Fetcher:
    """The shared state of one call of `fetch_urls`."""

    def __init__(
        self,
        settings: FetchSettings,
        spool: Spool,
        share: Callable[[str], int],
        refused: Callable[[str], Failure | None],
    ) -> None:
        self._settings, self._spool, self._share = settings, spool, share
        self._refused = refused
        self._domains: dict[str, Domain] = {}
        self._schedule: Schedule
        self._client: Client
        self._robots: Robots | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._reasons: Counter[str] = Counter()
        self._unwritten = 0
        self._timer: asyncio.TimerHandle | None = None
        self._error: OSError | None = None

    async def run(
        self, todo: list[Job], most_bytes: int, folder: Path, lookup: Lookup | None
    ) -> None:
        """Fetches all URLs of `todo`, and stores their outcomes."""
        self._clock = asyncio.get_running_loop().time
        self._schedule = Schedule(self._lane, self._clock)
        for job in todo:
            self._schedule.add(job)
        # A proxy may have a private address; with a proxy, no other host is resolved.
        proxy = {host_of(self._settings.proxy)} if self._settings.proxy else set()
        resolver = CheckedResolver({*self._settings.allow_hosts, *proxy}, lookup)
        async with Client(self._settings, most_bytes, folder, resolver) as self._client:
            if self._settings.robots:
                self._robots = Robots(
                    TOKEN, self._client.robots_file, self._settings.max_crawl_delay
                )
            count = min(self._settings.threads, len(todo))
            self._workers = [asyncio.create_task(self._work()) for _ in range(count)]
            telling = asyncio.create_task(self._tell(folder))
            try:
                await asyncio.gather(*self._workers)
            except asyncio.CancelledError:
                raise self._error or asyncio.CancelledError from None
            finally:
                telling.cancel()
                self._cancel()

    def hosts(self) -> list[dict[str, Any]]:
        """Returns the table of hosts."""
        lanes = sorted(self._schedule.lanes.items())
        return [lane.told.row(host, registered_domain(host)) for host, lane in lanes]

    async def _tell(self, folder: Path) -> None:
        """Reports the counts so far, every second."""
        while True:
            await asyncio.sleep(TELL_S)
            told = {host: lane.told for host, lane in self._schedule.lanes.items()}
            tell(folder, told, self._reasons)

    def _lane(self, host: str) -> Lane:
        name = registered_domain(host)
        workers, settings = max(1, self._share(name)), self._settings
        if name not in self._domains:
            most = settings.domain_connections / workers
            self._domains[name] = Domain(Bounds(most, workers / settings.domain_rate))
        bounds = Bounds(settings.host_connections / workers, workers / settings.host_rate)
        known = not settings.robots
        breaker = Breaker(settings.breaker)
        return Lane(host, bounds, self._domains[name], breaker, workers, known=known)

    async def _work(self) -> None:
        """Requests one URL after the other, until there are none left."""
        schedule = self._schedule
        while (taken := await schedule.take()) is not None:
            job, lane = taken
            if lane.closed is not None:
                self._fail(job, lane.told, job.last or Failure("host_down", lane.closed))
                continue
            started = self._clock()
            if self._robots is not None:
                rules = self._robots.known(job.url) or await self._robots.rules(job.url)
                if not self._allowed(job, lane, rules):
                    continue
            lane.told.asked += 1
            self._settle(job, lane, await self._client.ask(job.url))
            schedule.end(lane, self._clock() - started)

    def _allowed(self, job: Job, lane: Lane, rules: Rules) -> bool:
        """Returns whether a URL may be requested now; if not, it is rescheduled, or fails."""
        if rules.delay and rules.seldom is None:
            # One request at a time, across all workers.
            lane.bounds.slow_down(1 / lane.workers, rules.delay * lane.workers)
        if not lane.known:
            self._schedule.open(lane, job)
            self._schedule.end(lane, 0)
            return False
        if (refusal := rules.refusal(job.url)) is None:
            return True
        lane.told.robots += refusal.reason in REFUSALS
        self._settle(job, lane, Answer(failure=refusal))
        self._schedule.unused(lane)
        return False

    def _settle(self, job: Job, lane: Lane, answer: Answer) -> None:
        """Handles the answer to a request: redirect, failure or body."""
        if answer.hop is not None:
            lane.breaker.passed()
            self._lead(job, lane, answer.hop)
        elif answer.failure is not None:
            self._note(lane, answer.failure)
            self._retry(job, lane, answer.failure)
        else:
            lane.breaker.passed()
            self._keep(job, lane.told, answer.body or ())

    def _lead(self, job: Job, lane: Lane, hop: str) -> None:
        """Follows a redirect, in the lane of the target's host."""
        job.seen += (job.url,)
        most = self._settings.redirects
        if hop in job.seen:
            self._fail(job, lane.told, Failure("redirect_loop", f"led back to {hop[:300]}"))
        elif len(job.seen) > most:
            words = f"more than {most} (ingest.redirects)"
            self._fail(job, lane.told, Failure("too_many_redirects", words))
        elif (refusal := self._refused(hop)) is not None:
            self._fail(job, lane.told, refusal)
        else:
            job.url, job.host = hop, host_of(hop)
            self._schedule.move(job)

    def _note(self, lane: Lane, failure: Failure) -> None:
        """Updates the host's breaker after a failure."""
        if failure.host_failed:
            pause = lane.breaker.failed()
            if pause == float("inf"):
                lane.told.closed = True
                lane.closed = f"failed {lane.breaker.failures} times in a row: {failure.reason}"
            elif pause is not None:
                self._schedule.pause(lane, min(pause, self._settings.max_wait))
        elif failure.reason not in _UNASKED:
            lane.breaker.passed()

    def _retry(self, job: Job, lane: Lane, failure: Failure) -> None:
        """Schedules a retry, or lets the URL fail."""
        if not failure.again or job.attempt > self._settings.retries:
            self._fail(job, lane.told, failure)
            return
        wait = failure.wait
        if wait is None:
            wait = backoff(job.first, job.attempt, self._settings.max_wait)
        if failure.wait is not None or failure.reason == "http_429":
            self._schedule.pause(lane, wait)  # applies to the whole host
        job.attempt, job.last = job.attempt + 1, failure
        self._schedule.again(job, wait)

    def _fail(self, job: Job, told: HostCounts, failure: Failure) -> None:
        outcome = Download(None, failure.reason, failure.detail, failure.retryable, _final(job))
        told.failed += 1
        self._reasons[failure.reason] += 1
        self._spool.keep(job.index, outcome)
        self._done()

    def _done(self) -> None:
        """Counts a URL as done after its outcome is written, in a batch with others."""
        self._unwritten += 1
        if self._unwritten >= MOST_UNWRITTEN or self._spool.unwritten >= PIECE:
            self._write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_S, self._write)

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._spool.flush()
        except OSError as error:  # the disk is full; an exception in a timer would be lost
            self._error = error
            self._cancel()
            return
        done, self._unwritten = self._unwritten, 0
        for _ in range(done):
            self._schedule.over()

    def _cancel(self) -> None:
        for worker in self._workers:
            worker.cancel()

    def _keep(self, job: Job, told: HostCounts, body: Body) -> None:
        outcome = Download(None, final_url=_final(job)) if job.seen else PICTURE
        told.bytes += self._spool.keep(job.index, outcome, body)
        told.images += 1
        self._done()


def _final(job: Job) -> str | None:
    return job.url if job.seen else None
