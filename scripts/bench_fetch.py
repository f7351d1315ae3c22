"""Measures the cost of fetching: our fetcher with every policy, a bare loop, and img2dataset.

    pip install 'nucleus-data[download]'                # img2dataset
    python scripts/bench_fetch.py                       # some minutes
    python scripts/bench_fetch.py --quick --json fetch.json

A server in a process of its own, on loopback, serves JPEGs of 3 kB and of 300 kB under 200 host
names, each with a robots.txt of 50 rules.

- nucleus: `fetch_urls` as an ingest calls it, with robots.txt, opt-outs, address checks, limits,
  spool and journal, which are read back; and SHA-256. All policies are on. The limits per host are
  so high that they are counted, but delay nothing. `and tar` also writes the shard's tar.
- bare: the same client on the same event loop, with the same number of concurrent requests, which
  gets, reads, and computes SHA-256.
- img2dataset: `ingest.downloader=img2dataset`, which keeps the bytes as they are; and SHA-256.
  Fixed costs (a process, its imports) are excluded, by the slope between two numbers of images. It
  uses a single host, as it can't resolve the others. `as it comes` has its own defaults, which
  encode each picture again (ours have sides of only 32 pixels).

The cost of starting a process (imports, the list of registered domains) is excluded for all three.
Processor time is that of the fetching process, without the server. Rounds alternate, ratios are
computed within a round, and medians are shown. Memory is the peak of the process, including its
imports.

The last rows: images per second of 50 hosts that answer after 50 ms, without and with one among
them that takes two seconds, and whose images are not counted. And planning (read, numbered, spread,
claimed) of a million URLs of 50,000 hosts: processor seconds and memory of one process.
"""

import asyncio
import hashlib
import itertools
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from scripts.benchmark import Measure, measure, parser, publish
from scripts.fetching.cost import Cost, measured
from scripts.fetching.planning import planning
from scripts.fetching.theirs import as_it_comes, img2dataset
from scripts.fetching.web import LARGE, SLOW_HOST, SMALL, here, server, urls_of

AT_ONCE = 64
HOSTS = 200


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        small: Number of JPEGs of 3 kB.
        large: Number of JPEGs of 300 kB.
        waiting: JPEGs per host, for hosts that answer late.
        rounds: Number of rounds.
        planned: Number of URLs to plan.
    """

    small: int = 3_000
    large: int = 1_000
    waiting: int = 40
    rounds: int = 5
    planned: int = 1_000_000


QUICK = Size(small=400, large=60, waiting=10, rounds=1, planned=20_000)


def nucleus(urls: Sequence[str], hosts: Sequence[str], settings: dict[str, Any]) -> Cost:
    """Measures our fetcher, with SHA-256."""
    return _fetch(urls, hosts, settings, tar=False)


def with_tar(urls: Sequence[str], hosts: Sequence[str], settings: dict[str, Any]) -> Cost:
    """Measures our fetcher, with SHA-256 and the shard's tar."""
    return _fetch(urls, hosts, settings, tar=True)


def _fetch(
    urls: Sequence[str], hosts: Sequence[str], settings: dict[str, Any], *, tar: bool
) -> Cost:
    from nucleus_data.domains import registered_domain
    from nucleus_data.stages.ingest.fetch_settings import FetchSettings
    from nucleus_data.stages.ingest.http.fetcher import fetch_urls
    from nucleus_data.stages.ingest.shard_tar import ShardTar

    registered_domain("example.com")  # reads the list of domains, once per process
    many = {"host_rate": 1e6, "domain_rate": 1e6, "host_connections": AT_ONCE}
    fetch_settings = FetchSettings(
        **{**many, "domain_connections": AT_ONCE, "threads": AT_ONCE, **settings},
        contact="bench@example.org",
        allow_hosts=tuple(hosts),
    )

    def work() -> int:
        images = 0
        with tempfile.TemporaryDirectory(prefix="bench-fetch-") as folder:
            outcomes = fetch_urls(
                urls, fetch_settings, 1 << 28, Path(folder) / "spool", lookup=here
            )
            with ShardTar(Path(folder) / "shard.tar") as shard:
                for number, outcome in enumerate(outcomes):
                    if outcome.data is not None:
                        hashlib.sha256(outcome.data).hexdigest()
                        images += 1
                        if tar:
                            shard.add(f"{number:08d}.jpg", outcome.data)
        return images

    return measured(work)


def bare(urls: Sequence[str], hosts: Sequence[str], settings: dict[str, Any]) -> Cost:
    """Measures the same client without any policy: get, read, SHA-256."""
    import aiohttp

    from nucleus_data.stages.ingest.http.resolver import CheckedResolver

    async def run() -> int:
        connector = aiohttp.TCPConnector(limit=0, resolver=CheckedResolver(hosts, here))
        async with aiohttp.ClientSession(connector=connector) as session:
            rest, images = iter(urls), 0

            async def work() -> int:
                count = 0
                for url in rest:
                    async with session.get(url) as response:
                        hashlib.sha256(await response.read()).hexdigest()
                        count += 1
                return count

            for count in await asyncio.gather(*(work() for _ in range(AT_ONCE))):
                images += count
            return images

    return measured(lambda: asyncio.run(run()))


Way = Callable[[Sequence[str], Sequence[str], dict[str, Any]], Cost]


def in_a_process(way: Way, urls: Sequence[str], images: int | None = None, **settings: Any) -> Cost:
    """Measures a way in a process of its own.

    Args:
        way: The way to fetch.
        urls: The URLs.
        images: The expected number of images; None for one per URL.
        settings: Settings for the way.

    Raises:
        RuntimeError: It returned another number of images.
    """
    hosts = sorted({url.split("/")[2].partition(":")[0] for url in urls})
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        cost = pool.submit(way, urls, hosts, settings).result()
    wanted = len(urls) if images is None else images
    if cost.images != wanted:
        raise RuntimeError(f"{way.__name__} brought {cost.images} of {wanted} images")
    return cost


def _slope(few: Sequence[float], many: Sequence[float]) -> list[float]:
    """Returns milliseconds per additional image, by round; `many` has twice as many images."""
    return [b - a for a, b in zip(few, many, strict=True)]


def _sized(port: int, name: str, count: int, size: int, rounds: int) -> list[Measure]:
    """Measures the processor time per image, at one size."""
    ways: dict[str, list[Cost]] = defaultdict(list)
    urls, theirs = urls_of(port, count, size, HOSTS), urls_of(port, 2 * count, size, 1)
    theirs = [url.replace("h0.example0.com", "127.0.0.1") for url in theirs]
    for _ in range(rounds):
        ways["ours"].append(in_a_process(nucleus, urls))
        ways["plain"].append(in_a_process(bare, urls))
        ways["packed"].append(in_a_process(with_tar, urls))
        ways["few"].append(in_a_process(img2dataset, theirs[:count]))
        ways["many"].append(in_a_process(img2dataset, theirs))
        ways["few as it comes"].append(in_a_process(as_it_comes, theirs[:count]))
        ways["many as it comes"].append(in_a_process(as_it_comes, theirs))
    ms = {way: [1000 * cost.processor_s / count for cost in costs] for way, costs in ways.items()}
    slope = _slope(ms["few"], ms["many"])
    their_own = _slope(ms["few as it comes"], ms["many as it comes"])
    small = size == SMALL
    ratio = [a / b for a, b in zip(ms["ours"], ms["plain"], strict=True)]
    gain = [b / a for a, b in zip(ms["packed"], slope, strict=True)]
    own_gain = [b / a for a, b in zip(ms["packed"], their_own, strict=True)]
    memory = [cost.memory_mb for cost in ways["packed"]]
    goal = "<= 1.6" if small else "<= 1.3"
    return [
        measure(f"nucleus, {name}", ms["ours"], "ms"),
        measure(f"nucleus and tar, {name}", ms["packed"], "ms", "<= 0.45" if small else None),
        measure(f"bare loop, {name}", ms["plain"], "ms"),
        measure(f"img2dataset, {name}", slope, "ms"),
        measure(f"img2dataset as it comes, {name}", their_own, "ms"),
        measure(f"nucleus, {name}", ratio, "times", goal, "bare loop"),
        measure(f"img2dataset, {name}", gain, "times", None, "nucleus and tar"),
        measure(
            f"img2dataset as it comes, {name}",
            own_gain,
            "times",
            ">= 6" if small else None,
            "nucleus and tar",
        ),
        measure(f"memory, nucleus, {name}", memory, "MB", "<= 150"),
        measure(f"memory, img2dataset, {name}", [c.memory_mb for c in ways["many"]], "MB"),
    ]


def _late(port: int, each: int, rounds: int) -> list[Measure]:
    """Measures images per second from late hosts, without and with one that is very late."""
    hosts = 50
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(rounds):
        for wait, rates in ((1, alone), (2, beside)):
            urls = urls_of(port, each * hosts, SMALL, hosts, wait)
            slow = [url for url in urls if SLOW_HOST in url]
            # The slow host has few URLs; timed is when all others are done.
            kept = [url for url in urls if url not in slow] + slow[:4]
            seconds = in_a_process(_others, kept, host_connections=2, deadline_s=30).seconds
            rates.append((len(kept) - 4) / seconds)
    ratio = [b / a for a, b in zip(alone, beside, strict=True)]
    return [
        measure("hosts that answer after 50 ms", alone, "images/s"),
        measure("the same beside a slow host", beside, "images/s"),
        measure("beside a slow host", ratio, "times", ">= 0.9", "without it"),
    ]


def _others(urls: Sequence[str], hosts: Sequence[str], settings: dict[str, Any]) -> Cost:
    """Measures our fetcher, with the seconds until all images but the slow host's are fetched."""
    from nucleus_data.stages.ingest.http.spool import Spool

    keep, last = Spool.keep, [0.0]
    slow = {place for place, url in enumerate(urls) if SLOW_HOST in url}

    def noted(self: Spool, place: int, *rest: Any) -> int:
        if place not in slow:
            last[0] = time.perf_counter()
        return keep(self, place, *rest)

    Spool.keep = noted  # type: ignore[method-assign]
    start = time.perf_counter()
    cost = nucleus(urls, hosts, settings)
    return Cost(cost.processor_s, last[0] - start, cost.memory_mb, cost.images)


def _planned(count: int) -> list[Measure]:
    """Measures processor time and memory of planning a list."""
    cost = in_a_process(planning, (), count, count=count)
    seconds = 1e6 * cost.processor_s / count
    return [
        measure("planning a million URLs", [seconds], "s of processor", "<= 60"),
        measure("memory, planning", [cost.memory_mb], "MB", "<= 500"),
    ]


PARTS = ("small", "large", "late", "plan")


def run(size: Size, parts: Sequence[str] = PARTS) -> list[Measure]:
    """Returns the rows of some parts."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    with server() as port:
        ways: dict[str, Callable[[], list[Measure]]] = {
            "small": lambda: _sized(port, "3 kB", size.small, SMALL, size.rounds),
            "large": lambda: _sized(port, "300 kB", size.large, LARGE, size.rounds),
            "late": lambda: _late(port, size.waiting, size.rounds),
            "plan": lambda: _planned(size.planned),
        }
        return list(itertools.chain.from_iterable(ways[part]() for part in parts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__)
    options.add_argument("--part", choices=PARTS, help="these rows alone")
    given = options.parse_args(arguments)
    parts = (given.part,) if given.part else PARTS
    publish(run(QUICK if given.quick else Size(), parts), given.json)
    return 0


if __name__ == "__main__":
    # Child processes import the ways by this module's name.
    from scripts.bench_fetch import main as imported_main

    sys.exit(imported_main())
