"""Makes single requests with aiohttp, and interprets the responses.

There are no cookies, no credentials and no proxies from the environment; redirects are checked
before they are followed; headers, bodies and time are limited.
"""

import asyncio
import errno
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp import ClientResponse
from yarl import URL

from nucleus_data.stages.ingest.fetch_settings import FetchSettings
from nucleus_data.stages.ingest.http.addresses import checked
from nucleus_data.stages.ingest.http.agent import TOKEN, user_agent
from nucleus_data.stages.ingest.http.body import BodyLimits, drained, read_body
from nucleus_data.stages.ingest.http.failures import Failure, LostError, RefusedError, failure_of
from nucleus_data.stages.ingest.http.opt_out import opt_out
from nucleus_data.stages.ingest.http.resolver import CheckedResolver
from nucleus_data.stages.ingest.http.robots import (
    MOST_BYTES,
    MOST_REDIRECTS,
    RobotsFile,
    unreachable,
)
from nucleus_data.stages.ingest.http.spool import Body
from nucleus_data.stages.ingest.http.waits import PASSING, retry_after
from nucleus_data.stages.ingest.http.watch import Limit, Watch

REDIRECTS = frozenset((301, 302, 303, 307, 308))
ANSWERS = frozenset((200, 203))
IDLE_S = 5.0  # close idle connections after this, before most servers do
# Bytes of a body that wait for us before its connection is paused, which costs two system calls;
# aiohttp's own 64 KiB pause it several times a photo.
READ_AHEAD = 1 << 18


class Answer(NamedTuple):
    """The result of a request: a body, the next hop of a redirect, or a failure."""

    body: Body | None = None
    hop: str | None = None
    failure: Failure | None = None


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> ClientResponse:
    """Keeps aiohttp from retrying by itself, without a pause, after a lost connection."""
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise LostError(str(error)) from error


class Client:
    """Makes requests, each once, without retries.

    Args:
        settings: Limits, and which opt-outs to obey.
        most_bytes: Maximum size of a body, in bytes.
        folder: Folder for bodies that are too large for memory.
        resolver: Resolves and checks hosts.
    """

    def __init__(
        self, settings: FetchSettings, most_bytes: int, folder: Path, resolver: CheckedResolver
    ) -> None:
        self._settings, self._resolver = settings, resolver
        self._opt_out: Collection[str] = frozenset(settings.opt_out)
        self._limits = BodyLimits(most_bytes, settings.min_rate, settings.timeout_s, folder)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                use_dns_cache=False,
                resolver=resolver,
                keepalive_timeout=IDLE_S,
                socket_factory=None if settings.proxy else resolver.connecting,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": user_agent(settings.contact),
                "Accept": "image/*,*/*;q=0.5",
                "Accept-Encoding": "identity",
            },
            auto_decompress=False,
            read_bufsize=READ_AHEAD,
            trust_env=False,
            proxy=settings.proxy,
            middlewares=(_once,),
            timeout=aiohttp.ClientTimeout(total=None),  # `watch` enforces all time limits
        )
        self._clock = asyncio.get_running_loop().time
        self._watch = Watch(self._clock)

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._watch.__aexit__(kind, error, trace)
        await self._session.close()
        await self._resolver.close()

    async def ask(self, url: str) -> Answer:
        """Requests a URL once, without following redirects."""
        deadline_s = self._settings.deadline_s
        started = self._clock()
        try:
            with self._watch.limit(deadline_s) as limit:
                return await self._asked(url, limit)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # a full disk is not the server's fault
            if isinstance(error, TimeoutError) and self._clock() - started >= deadline_s:
                detail = f"not whole after {deadline_s:g} s (ingest.deadline_s)"
                return Answer(failure=Failure("timeout", detail, host_failed=True))
            return Answer(failure=failure_of(error, self._settings.timeout_s))

    async def robots_file(self, url: str) -> RobotsFile:
        """Requests a robots.txt, following redirects and retrying."""
        failure = Failure("connection", "")
        for attempt in range(self._settings.retries + 1):
            if attempt:
                await asyncio.sleep(min(1.0, self._settings.max_wait))
            try:
                with self._watch.limit(self._settings.deadline_s) as limit:
                    found = await self._robots_file(url, limit)
            except Exception as error:
                failure = failure_of(error, self._settings.timeout_s)
                if not failure.again:
                    break
            else:
                if found.status < 500:
                    return found
                failure = Failure("", f"answered {found.status}")
        if not failure.reason:
            return RobotsFile(500)
        return RobotsFile(0, failure=unreachable(failure))

    async def _robots_file(self, url: str, limit: Limit) -> RobotsFile:
        end = limit.at
        for _ in range(MOST_REDIRECTS + 1):
            response = await self._begun(url, limit, end)
            async with response:
                if response.status in REDIRECTS and (hop := _hop(url, response)) is not None:
                    url = hop
                    continue
                found = b""
                if 200 <= response.status < 300:
                    limit.at = end
                    found = await drained(response, MOST_BYTES)
                return RobotsFile(response.status, found)
        return RobotsFile(404)  # too many redirects: treated as no robots.txt

    async def _begun(self, url: str, limit: Limit, end: float) -> ClientResponse:
        """Sends a request; returns when the response's headers have arrived."""
        parts = URL(url, encoded=True)
        if self._settings.proxy is None:
            self._resolver.check_literal(parts.raw_host or "")
        # Twice the time-out: once for connecting, and once for the headers.
        limit.at = min(end, self._clock() + 2 * self._settings.timeout_s)
        return await self._session.get(parts, allow_redirects=False)

    async def _asked(self, url: str, limit: Limit) -> Answer:
        end, wait_s = limit.at, self._settings.timeout_s
        response = await self._begun(url, limit, end)
        whole = False
        try:
            if response.status in REDIRECTS and (hop := _hop(url, response)) is not None:
                return Answer(hop=hop)
            if response.status not in ANSWERS:
                return Answer(failure=self._refused(response))
            if (said := opt_out(response.headers, TOKEN, self._opt_out)) is not None:
                return Answer(failure=Failure(*said))

            def heard(now: float) -> None:
                limit.at = min(end, now + wait_s)

            body = await read_body(response, self._limits, self._clock, heard)
            whole = True
            return Answer(body)
        finally:
            # A connection can only be reused if its response was read to the end.
            if whole or response.content.at_eof():
                response.release()
            else:
                response.close()

    def _refused(self, response: ClientResponse) -> Failure:
        """Returns the failure for a response status."""
        status = response.status
        wait = retry_after(response.headers.get("Retry-After")) if status in PASSING else None
        detail = f"{status} {response.reason or ''}".strip()[:200]
        most = self._settings.max_wait
        if wait is not None and wait > most:
            detail += f"; it asks for a longer wait than ingest.max_wait, {most:g} s"
            return Failure(f"http_{status}", detail, host_failed=True)
        passing = status in PASSING
        return Failure(f"http_{status}", detail, passing, wait, host_failed=passing)


def _hop(url: str, response: ClientResponse) -> str | None:
    """Returns the checked target of a redirect; None if it has no Location.

    Raises:
        RefusedError: The target must not be requested.
    """
    location = response.headers.get("Location")
    if location is None:
        return None
    try:
        target = checked(urljoin(url, location.strip()))
    except ValueError as error:
        raise RefusedError("bad_url", f"redirected to an invalid URL: {error}") from None
    if target.url is None:
        shown = urlsplit(url).hostname
        raise RefusedError(target.reason or "bad_url", f"redirected by {shown}: {target.detail}")
    return target.url
