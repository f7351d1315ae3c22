"""A circuit breaker per host: after consecutive failures, longer and longer pauses, then for good.

Once open, one URL at a time probes the host; a success closes the breaker.
"""

from dataclasses import dataclass

MOST_OPENINGS = 3


@dataclass(slots=True)
class Breaker:
    """Counts a host's consecutive failures.

    Attributes:
        limit: Consecutive failures that open the breaker; 0 disables it.
        failures: Number of failures since the last success.
        openings: How often the breaker opened since then.
    """

    limit: int
    failures: int = 0
    openings: int = 0

    @property
    def probing(self) -> bool:
        """Whether the host is requested one URL at a time, to see whether it is back."""
        return self.openings > 0

    def passed(self) -> None:
        """Notes that the host answered."""
        self.failures = self.openings = 0

    def failed(self) -> float | None:
        """Notes another failure of the host.

        Returns:
            Seconds to pause the host; infinity to give it up; None if the breaker stays closed.
        """
        self.failures += 1
        if not self.limit or self.failures < self.limit:
            return None
        self.openings += 1
        return float("inf") if self.openings > MOST_OPENINGS else 2.0 ** (self.openings - 1)
