"""robots.txt by RFC 9309, read once a host and kept for a day; and how often a host may be asked.

4xx allows everything; 5xx, or no answer, refuses everything for now; the first 500 kB count; up to
five redirects are followed, and what leads further is as good as none. Crawl-delay and
Request-rate, which the RFC does not have and many files do, are obeyed up to a limit. As with the
crawlers that owners know (Nutch, StormCrawler), a host that wants more is not asked faster than it
likes: it is not asked.
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
DISALLOWED, UNREACHABLE, TOO_SELDOM = "robots_txt", "robots_unreachable", "crawl_delay"
REFUSALS = frozenset((DISALLOWED, UNREACHABLE, TOO_SELDOM))


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
class Rules:
    """What a site's robots.txt says to us.

    Attributes:
        site: The site: scheme, host and port.
        until: When it is to be read again.
        token: What rules call us.
        delay: Seconds between requests that it asks for; 0 where it does not.
        parsed: Its rules; None where there are none.
        refused: Why nothing may be asked.
        seldom: Why nothing that it allows is asked: it asks for too long a delay.
    """

    site: str
    until: float
    token: str = ""
    delay: float = 0.0
    parsed: Protego | None = None
    refused: Failure | None = None
    seldom: Failure | None = None

    def refusal(self, url: str) -> Failure | None:
        """Why a URL is not to be asked; None if it may be."""
        if self.refused is not None or self.parsed is None:
            return self.refused
        if self.parsed.can_fetch(url, self.token):
            return self.seldom
        path = urlsplit(url).path or "/"
        return Failure(DISALLOWED, f"{self.site}/robots.txt forbids {path[:200]}")


class Robots:
    """The rules of hosts.

    Args:
        token: What rules call us.
        ask: Asks for a robots.txt.
        most_delay: Seconds between requests that a host may ask for.
    """

    def __init__(
        self,
        token: str,
        ask: Callable[[str], Awaitable[RobotsFile]],
        most_delay: float = float("inf"),
    ) -> None:
        self._token, self._ask, self._most_delay = token, ask, most_delay
        self._known: OrderedDict[str, asyncio.Task[Rules]] = OrderedDict()

    def known(self, url: str) -> Rules | None:
        """The rules for a URL, if they were read."""
        task = self._known.get(_site(url))
        if task is None or not task.done():
            return None
        rules = task.result()
        return rules if rules.until >= asyncio.get_running_loop().time() else None

    async def rules(self, url: str) -> Rules:
        """The rules for a URL, which are read if they are not known."""
        if (rules := self.known(url)) is not None:
            return rules
        site, loop = _site(url), asyncio.get_running_loop()
        known = self._known.get(site)
        if known is None or known.done():
            # A task of its own: who asked first may give up, and the others still wait for it.
            known = self._known[site] = loop.create_task(self._load(site, loop.time()))
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return await asyncio.shield(known)

    async def _load(self, site: str, now: float) -> Rules:
        file = await self._ask(f"{site}/robots.txt")
        until = now + KEPT_S
        if file.failure is not None or file.status >= 500:
            return Rules(site, until, refused=file.failure or _down(f"answered {file.status}"))
        if not 200 <= file.status < 300:
            return Rules(site, until)
        parsed = _parsed(file.body[:MOST_BYTES])
        delay = _delay(parsed, self._token)
        seldom = None
        if delay > self._most_delay:
            words = (
                f"{site}/robots.txt asks for {delay:g} s between requests; at most "
                f"{self._most_delay:g} s are waited (ingest.max_crawl_delay)"
            )
            seldom = Failure(TOO_SELDOM, words)
        return Rules(site, until, self._token, delay, parsed, None, seldom)


def _site(url: str) -> str:
    """The scheme, host and port of a URL that was checked."""
    end = url.find("/", 8)
    site = url if end < 0 else url[:end]
    return site.partition("?")[0] if "?" in site else site


@lru_cache(maxsize=100)
def _parsed(body: bytes) -> Protego:
    """Rules; many hosts have those that their software came with."""
    return Protego.parse(body.decode("utf-8-sig", "replace"))


def _delay(rules: Protego, token: str) -> float:
    """Seconds between requests that rules ask for, at any time of the day."""
    rate = rules.request_rate(token)
    return max(rules.crawl_delay(token) or 0.0, rate.seconds / rate.requests if rate else 0.0)


def _down(why: str) -> Failure:
    return Failure(UNREACHABLE, f"robots.txt {why}: nothing may be asked until it can be read")


def unreachable(failure: Failure) -> Failure:
    """The failure of a robots.txt's request, as that of the URLs behind it."""
    if failure.any_url:
        return Failure(failure.reason, failure.detail)
    return _down(f"gave no answer ({failure.reason}: {failure.detail})")
