"""What became of each host, for people and for the table of hosts."""

from dataclasses import asdict, dataclass
from typing import Any

HOSTS = "hosts.json"  # in the fetcher's folder, when it is done


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
        return {"host": host, "domain": domain, **asdict(self)}
