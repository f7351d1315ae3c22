"""Counts per host, for people and for the table of hosts; and progress reports."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# In the fetcher's folder: the table of hosts, at the end; and the counts so far, every second.
HOSTS, NOW = "hosts.json", "now.json"
MOST_TOLD = 20  # maximum number of hosts to report


@dataclass
class HostCounts:
    """Counts of one host in one shard.

    Attributes:
        asked: Number of requests, without those for robots.txt.
        images: Number of pictures received.
        bytes: Size of these pictures.
        failed: Number of URLs that failed.
        robots: Those of `failed` that failed because of robots.txt: forbidden, not readable, or
            with too long a delay.
        slowed_s: Seconds that it was paused, at its request or by its breaker.
        closed: Whether it was given up.
    """

    asked: int = 0
    images: int = 0
    bytes: int = 0
    failed: int = 0
    robots: int = 0
    slowed_s: float = 0.0
    closed: bool = False

    def row(self, host: str, domain: str) -> dict[str, Any]:
        """Returns a row of the table of hosts."""
        return {"host": host, "domain": domain, **vars(self)}


def troubled(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Returns the worst hosts that were given up or paused -> number of failed URLs.

    Args:
        rows: Rows with `host` and its counts.
    """
    found = [(row["failed"], row["host"]) for row in rows if row["closed"] or row["slowed_s"]]
    return {host: failed for failed, host in sorted(found, reverse=True)[:MOST_TOLD]}


def tell(folder: Path, lanes: Mapping[str, HostCounts], reasons: Mapping[str, int]) -> None:
    """Writes the counts so far, atomically; errors such as a full disk are ignored.

    Args:
        folder: The fetcher's folder.
        lanes: Counts by host.
        reasons: Reason code -> number of failed URLs.
    """
    counts = {
        "images": sum(told.images for told in lanes.values()),
        "bytes": sum(told.bytes for told in lanes.values()),
        "reasons": dict(reasons),
        "hosts": troubled({"host": host, **vars(told)} for host, told in lanes.items()),
    }
    half = folder / f"{NOW}.part"
    with suppress(OSError):
        half.write_text(json.dumps(counts))
        os.replace(half, folder / NOW)  # noqa: PTH105 - nobody reads half of it


def heard(folder: Path, since: float) -> dict[str, Any] | None:
    """Reads the counts that a fetcher wrote last; None if there are none.

    Args:
        folder: The fetcher's folder.
        since: Seconds since the epoch; older counts are from a killed process, and ignored.
    """
    with suppress(OSError, ValueError):
        if (folder / NOW).stat().st_mtime >= since:
            counts: dict[str, Any] = json.loads((folder / NOW).read_text())
            return counts
    return None
