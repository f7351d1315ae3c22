"""Maps exceptions of a request to failures: a reason code, stable wording, and whether to retry."""

import asyncio
import os
from dataclasses import dataclass

import aiohttp

from nucleus_data.stages.ingest.reasons import is_retryable


class RefusedError(Exception):
    """A request that is not made, or whose response is rejected.

    Attributes:
        reason: The reason code.
        detail: The reason in words.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class LostError(aiohttp.ClientError):
    """A connection that was closed before there was a response."""


class LookupFailedError(OSError):
    """A host without an address that may be requested.

    Attributes:
        reason: `dns` or `private_address`.
        detail: The reason in words.
        passing: Whether the failure may be temporary.
    """

    def __init__(self, reason: str, detail: str, *, passing: bool = False) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.passing = reason, detail, passing


@dataclass(frozen=True)
class Failure:
    """Why there is no picture.

    Attributes:
        reason: The reason code.
        detail: The reason in words.
        again: Whether to retry in this run.
        wait: Seconds that the host asks us to wait (Retry-After).
        host_failed: Whether it counts as a failure of the host.
        any_url: Whether any URL of the host would fail in this way.
    """

    reason: str
    detail: str
    again: bool = False
    wait: float | None = None
    host_failed: bool = False
    any_url: bool = False

    @property
    def retryable(self) -> bool:
        """Whether a later run may succeed."""
        return is_retryable(self.reason)


def failure_of(error: Exception, timeout_s: float) -> Failure:
    """Returns the failure for an exception raised by a request."""
    cause = getattr(error, "os_error", None)
    if isinstance(cause, LookupFailedError):
        error = cause
    if isinstance(error, LookupFailedError):
        return Failure(error.reason, error.detail, again=error.passing, any_url=True)
    if isinstance(error, RefusedError):
        return Failure(error.reason, error.detail, host_failed=error.reason == "too_slow")
    if isinstance(error, asyncio.TimeoutError):
        detail = f"no answer within {timeout_s:g} s (ingest.timeout_s)"
        return Failure("timeout", detail, again=True, host_failed=True)
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return Failure("tls", _words(cause or error), host_failed=True, any_url=True)
    if isinstance(error, aiohttp.InvalidURL):
        return Failure("bad_url", _words(error))
    if isinstance(error, aiohttp.ClientResponseError):
        return Failure("bad_answer", _words(error.message))
    return Failure(
        "connection",
        _lost(error, cause),
        again=True,
        host_failed=True,
        any_url=isinstance(error, aiohttp.ClientConnectorError),
    )


def _lost(error: Exception, cause: OSError | None) -> str:
    """Describes a lost connection, independently of which layer noticed it first."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection ended before the body did"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = cause.errno if cause is not None else None
        why = os.strerror(number) if number and number > 0 else _words(cause or error)
        return f"no connection: {why}"
    return "the connection ended before there was an answer"


def _words(error: object) -> str:
    """Formats an exception's message in one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]
