"""robots.txt by RFC 9309, read once a host and kept for a day.

4xx allows everything; 5xx, or no answer, refuses everything for now; the first 500 kB count; up to
five redirects are followed, and what leads further is as good as none.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from protego import Protego

from nucleus_data.stages.ingest.http.failures import Failure

KEPT_S = 24 * 3600.0
MOST_BYTES = 500_000
MOST_REDIRECTS = 5
MOST = 5_000
DISALLOWED, UNREACHABLE = "robots_txt", "robots_unreachable"


@dataclass(frozen=True)
class RobotsFile:
    """What the request for a robots.txt brought.

    Attributes:
        status: Of the last answer; 0 where there was none.
        body: Its first bytes.
        failure: Why there was no answer.
    """

    status: int
    body: bytes = b""
    failure: Failure | None = None


@dataclass(frozen=True)
class _Rules:
    until: float
    rules: Protego | None = None
    refused: Failure | None = None


class Robots:
    """The rules of hosts.

    Args:
        token: What rules call us.
        ask: Asks for a robots.txt.
    """

    def __init__(self, token: str, ask: Callable[[str], Awaitable[RobotsFile]]) -> None:
        self._token, self._ask = token, ask
        self._known: OrderedDict[str, asyncio.Task[_Rules]] = OrderedDict()

    async def refusal(self, url: str) -> Failure | None:
        """Why a URL is not to be asked; None if it may be."""
        scheme, rest = url.split("://", 1)
        site = f"{scheme}://{rest.partition('/')[0].partition('?')[0]}"
        loop = asyncio.get_running_loop()
        known = self._known.get(site)
        if known is None or (known.done() and known.result().until < loop.time()):
            # A task of its own: who asked first may give up, and the others still wait for it.
            known = self._known[site] = loop.create_task(self._load(site, loop.time()))
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        rules = known.result() if known.done() else await asyncio.shield(known)
        if rules.refused is not None:
            return rules.refused
        if rules.rules is None or rules.rules.can_fetch(url, self._token):
            return None
        path = urlsplit(url).path or "/"
        return Failure(DISALLOWED, f"{site}/robots.txt forbids {path[:200]}")

    async def _load(self, site: str, now: float) -> _Rules:
        file = await self._ask(f"{site}/robots.txt")
        until = now + KEPT_S
        if file.failure is not None or file.status >= 500:
            return _Rules(until, refused=file.failure or _down(f"answered {file.status}"))
        if not 200 <= file.status < 300:
            return _Rules(until)
        return _Rules(until, _parsed(file.body[:MOST_BYTES]))


@lru_cache(maxsize=100)
def _parsed(body: bytes) -> Protego:
    """Rules; many hosts have those that their software came with."""
    return Protego.parse(body.decode("utf-8-sig", "replace"))


def _down(why: str) -> Failure:
    return Failure(UNREACHABLE, f"robots.txt {why}: nothing may be asked until it can be read")


def unreachable(failure: Failure) -> Failure:
    """The failure of a robots.txt's request, as that of the URLs behind it."""
    if failure.any_url:
        return Failure(failure.reason, failure.detail)
    return _down(f"gave no answer ({failure.reason}: {failure.detail})")
