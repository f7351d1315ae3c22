import errno
import os

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from nucleus_data.stages.ingest.http.failures import (
    LookupFailedError,
    LostError,
    RefusedError,
    failure_of,
)

KEY = ConnectionKey("h", 80, False, True, None, None, None)


def connector(error, kind=aiohttp.ClientConnectorError):
    return kind(KEY, error)


@pytest.mark.parametrize(
    ("error", "reason", "again", "retryable"),
    [
        (TimeoutError(), "timeout", True, True),
        (aiohttp.ServerTimeoutError(), "timeout", True, True),
        (aiohttp.ConnectionTimeoutError(), "timeout", True, True),
        (LostError("x"), "connection", True, True),
        (aiohttp.ClientPayloadError("x"), "connection", True, True),
        (connector(OSError(errno.ECONNREFUSED, "x")), "connection", True, True),
        (connector(LookupFailedError("private_address", "x")), "private_address", False, False),
        (
            connector(LookupFailedError("dns", "x"), aiohttp.ClientConnectorDNSError),
            *("dns", False, True),
        ),
        (
            connector(LookupFailedError("dns", "x", passing=True), aiohttp.ClientConnectorDNSError),
            *("dns", True, True),
        ),
        (connector(OSError(0, "x"), aiohttp.ClientConnectorSSLError), "tls", False, False),
        (aiohttp.ClientResponseError(None, (), message="x"), "bad_answer", False, False),
        (aiohttp.InvalidURL("x"), "bad_url", False, False),
        (RefusedError("not_an_image", "x"), "not_an_image", False, False),
        (RefusedError("too_slow", "x"), "too_slow", False, True),
    ],
)
def test_reasons(error, reason, again, retryable):
    found = failure_of(error, 10)
    assert (found.reason, found.again, found.retryable) == (reason, again, retryable)


def test_words_do_not_depend_on_who_noticed_first():
    refused = failure_of(connector(OSError(errno.ECONNREFUSED, "Connect call failed 1.2.3.4")), 1)
    assert refused.detail == f"no connection: {os.strerror(errno.ECONNREFUSED)}"
    lost = {failure_of(LostError(words), 1).detail for words in ("Server disconnected", "reset")}
    assert len(lost) == 1
