"""How long to wait before asking again: what the host asks for, else longer each time."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from nucleus_data.hashing import keyed_unit

FIRST_S = 1.0
# Statuses that may be another one in a moment; all others are final and asked once.
PASSING = frozenset((408, 425, 429, *range(500, 600)))


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a header `Retry-After` asks for, in either form; None if it says nothing."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def backoff(url: str, attempt: int, most: float) -> float:
    """Seconds before the next attempt: doubled each time, by half to one and a half of that.

    Args:
        url: Whose: its own jitter, so that many URLs do not come back at once.
        attempt: How many attempts there were, from 1.
        most: Seconds at most.
    """
    jitter = 0.5 + keyed_unit("fetch-backoff", attempt, url)
    return float(min(FIRST_S * 2 ** (attempt - 1) * jitter, most))
