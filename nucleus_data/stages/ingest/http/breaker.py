"""The breaker of a host: after failures in a row it is left alone, longer each time, then for good.

Once open, one URL at a time probes the host; a success closes it.
"""

from dataclasses import dataclass

MOST_OPENINGS = 3


@dataclass(slots=True)
class Breaker:
    """Counts a host's failures in a row.

    Attributes:
        limit: Failures in a row that open it; 0 never does.
        failures: How many there were since the last success.
        openings: How often it opened since then.
    """

    limit: int
    failures: int = 0
    openings: int = 0

    @property
    def probing(self) -> bool:
        """Whether one URL at a time is asked, to see whether the host is back."""
        return self.openings > 0

    def passed(self) -> None:
        """The host answered."""
        self.failures = self.openings = 0

    def failed(self) -> float | None:
        """The host failed once more.

        Returns:
            Seconds to leave it alone; infinite once it has had its chances; None if it is closed.
        """
        self.failures += 1
        if not self.limit or self.failures < self.limit:
            return None
        self.openings += 1
        return float("inf") if self.openings > MOST_OPENINGS else 2.0 ** (self.openings - 1)
