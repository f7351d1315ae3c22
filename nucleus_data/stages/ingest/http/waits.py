"""How long to wait before a retry: what Retry-After says, or an exponential backoff."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from nucleus_data.hashing import keyed_unit

FIRST_S = 1.0
# Statuses that may be temporary; all others are final, and not retried.
PASSING = frozenset((408, 425, 429, *range(500, 600)))


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Parses a `Retry-After` header, in either form, to seconds; None if missing or invalid."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):  # of a time zone of 20 digits
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def backoff(url: str, attempt: int, most: float) -> float:
    """Returns the seconds before the next attempt: exponential backoff, with a jitter of +-50 %.

    Args:
        url: The URL, which determines the jitter, so that many URLs do not retry at once.
        attempt: Number of attempts so far, from 1.
        most: Maximum seconds.
    """
    jitter = 0.5 + keyed_unit("fetch-backoff", attempt, url)
    return float(min(FIRST_S * 2 ** (attempt - 1) * jitter, most))
