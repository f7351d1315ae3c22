"""robots.txt (RFC 9309), read once per host and kept for a day; and the request rate it allows.

4xx allows everything; 5xx, or no answer, forbids everything for now; the first 500 kB are parsed;
up to five redirects are followed, and more count as no robots.txt. Crawl-delay and Request-rate,
which many files have although the RFC does not, are obeyed up to a limit. A host that asks for a
longer delay is skipped, as by other well-known crawlers (Nutch, StormCrawler), and not requested
faster than it wants.
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
    """The result of requesting a robots.txt.

    Attributes:
        status: Status of the last response; 0 if there was none.
        body: First bytes of the file.
        failure: Why there was no response.
    """

    status: int
    body: bytes = b""
    failure: Failure | None = None


@dataclass(frozen=True)
class Rules:
    """The rules of a site's robots.txt that apply to us.

    Attributes:
        site: The site: scheme, host and port.
        until: When it has to be read again.
        token: Our product token.
        delay: Seconds between requests that it asks for; 0 for none.
        parsed: Its rules; None if there are none.
        refused: The failure of all URLs, if nothing may be requested.
        seldom: The failure of all allowed URLs, if it asks for too long a delay.
    """

    site: str
    until: float
    token: str = ""
    delay: float = 0.0
    parsed: Protego | None = None
    refused: Failure | None = None
    seldom: Failure | None = None

    def refusal(self, url: str) -> Failure | None:
        """Returns why a URL must not be requested; None if it may be."""
        if self.refused is not None or self.parsed is None:
            return self.refused
        if self.parsed.can_fetch(url, self.token):
            return self.seldom
        path = urlsplit(url).path or "/"
        return Failure(DISALLOWED, f"{self.site}/robots.txt forbids {path[:200]}")


class Robots:
    """Loads and caches the rules of sites.

    Args:
        token: Our product token.
        ask: Requests a robots.txt.
        most_delay: Longest delay between requests to obey, in seconds.
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
        """Returns the rules for a URL, if they are cached."""
        task = self._known.get(_site(url))
        if task is None or not task.done():
            return None
        rules = task.result()
        return rules if rules.until >= asyncio.get_running_loop().time() else None

    async def rules(self, url: str) -> Rules:
        """Returns the rules for a URL, loading them if necessary."""
        if (rules := self.known(url)) is not None:
            return rules
        site, loop = _site(url), asyncio.get_running_loop()
        known = self._known.get(site)
        if known is None or known.done():
            # A separate task, since the first caller may be cancelled while others wait for it.
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
    """Returns scheme, host and port of a checked URL."""
    end = url.find("/", 8)
    site = url if end < 0 else url[:end]
    return site.partition("?")[0] if "?" in site else site


@lru_cache(maxsize=100)
def _parsed(body: bytes) -> Protego:
    """Parses a file, with a cache: many hosts have the default file of their software."""
    return Protego.parse(body.decode("utf-8-sig", "replace"))


def _delay(rules: Protego, token: str) -> float:
    """Returns the seconds between requests that rules ask for, at any time of day."""
    rate = rules.request_rate(token)
    return max(rules.crawl_delay(token) or 0.0, rate.seconds / rate.requests if rate else 0.0)


def _down(why: str) -> Failure:
    return Failure(UNREACHABLE, f"robots.txt {why}: nothing may be asked until it can be read")


def unreachable(failure: Failure) -> Failure:
    """Returns the failure of a site's URLs when its robots.txt could not be requested."""
    if failure.any_url:
        return Failure(failure.reason, failure.detail)
    return _down(f"gave no answer ({failure.reason}: {failure.detail})")
