"""The outcome of fetching a URL."""

from typing import NamedTuple


class Download(NamedTuple):
    """The outcome of fetching a URL: its bytes, or a failure.

    Attributes:
        data: The bytes; None if the URL failed.
        reason: Reason code of the failure.
        detail: The reason in words.
        retryable: Whether a later attempt may succeed.
        final_url: The URL that answered, if there were redirects.
    """

    data: bytes | None
    reason: str | None = None
    detail: str | None = None
    retryable: bool = False
    final_url: str | None = None
