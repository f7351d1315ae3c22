"""What became of a URL."""

from typing import NamedTuple


class Download(NamedTuple):
    """One URL's outcome: its bytes, or a reason code, details, and whether it may pass.

    Attributes:
        data: The bytes as they are kept; None where there are none.
        reason: Why there are none, as a code.
        detail: The same in words.
        retryable: Whether a later attempt may succeed.
        final_url: The URL that answered, where redirects led to another one.
    """

    data: bytes | None
    reason: str | None = None
    detail: str | None = None
    retryable: bool = False
    final_url: str | None = None
