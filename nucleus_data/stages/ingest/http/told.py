"""What became of each host, for people and for the table of hosts; and the counts so far."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# In the fetcher's folder: a row a host, when it is done; and its counts, every second.
HOSTS, NOW = "hosts.json", "now.json"
MOST_TOLD = 20


@dataclass
class HostCounts:
    """Counts of one host in one shard.

    Attributes:
        asked: Requests, those for robots.txt not among them.
        images: Pictures that came.
        bytes: Their bytes.
        failed: URLs that ended without a picture.
        robots: Those of `failed` that its robots.txt forbids, that wait until it can be read, or
            that it wants to be asked for too seldom.
        slowed_s: Seconds that it was left alone for: it asked for that, or its breaker was open.
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
        """As a row of the table of hosts."""
        return {"host": host, "domain": domain, **vars(self)}


def troubled(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Hosts that were given up or slowed us down -> URLs without a picture; the worst of them.

    Args:
        rows: `host`, and its counts.
    """
    found = [(row["failed"], row["host"]) for row in rows if row["closed"] or row["slowed_s"]]
    return {host: failed for failed, host in sorted(found, reverse=True)[:MOST_TOLD]}


def tell(folder: Path, lanes: Mapping[str, HostCounts], reasons: Mapping[str, int]) -> None:
    """Writes the counts so far, whole at any moment; a disk that is full costs them alone.

    Args:
        folder: The fetcher's.
        lanes: Counts by host.
        reasons: Reason code -> URLs that ended without a picture.
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
    """The counts that a fetcher told last; None if it told none.

    Args:
        folder: The fetcher's.
        since: Seconds since the epoch; what was told before is of a process that was killed.
    """
    with suppress(OSError, ValueError):
        if (folder / NOW).stat().st_mtime >= since:
            counts: dict[str, Any] = json.loads((folder / NOW).read_text())
            return counts
    return None
