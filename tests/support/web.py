"""What the tests of the fetcher share: pictures on a server; hosts that are all this machine."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from nucleus_data.stages.ingest.fetch_settings import FetchSettings
from nucleus_data.stages.ingest.http.fetcher import fetch_urls
from tests.support.ingested import tiny

QUICK = {
    "timeout_s": 0.5,
    "host_rate": 10_000,
    "domain_rate": 10_000,
    "host_connections": 20,
    "domain_connections": 100,
    "max_wait": 5,
    "retries": 1,
}
HERE = "127.0.0.1"
OURS = (".test", ".example.com")


def picture(number):
    """A PNG of more than a few bytes."""
    return tiny(number) + number.to_bytes(4, "big") * 300


def served(folder, count, robots=None):
    """Writes pictures `0.png`, `1.png`, … to serve; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.png").write_bytes(picture(number))
    if robots is not None:
        (folder / "robots.txt").write_text(robots)
    return folder


def on(host, url):
    """A URL of a server on this machine, under another host name."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{host}:{parts.port}").geturl()


async def here(host):
    """A name server that knows hosts in `OURS`, which are all this machine."""
    await asyncio.sleep(0)
    if host.endswith(OURS):
        return [HERE]
    raise LookupError(f"{host} is not known")


def fetched(urls, folder, most=1 << 20, **settings):
    """Outcomes of URLs; hosts in `OURS` are this machine."""
    hosts = {urlsplit(url).hostname or "" for url in urls if url}
    allowed = (HERE, *sorted(host for host in hosts if host.endswith(OURS)))
    said = FetchSettings(**{**QUICK, "allow_hosts": allowed, **settings})
    return list(fetch_urls(urls, said, most, Path(folder), lookup=here))
