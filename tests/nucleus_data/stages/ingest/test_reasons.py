import pytest

from nucleus_data.stages.ingest.reasons import download_reason, is_retryable


@pytest.mark.parametrize(
    ("message", "reason", "retryable"),
    [
        ("HTTP Error 404: Not Found", "http_404", False),
        ("HTTP Error 503: Service Unavailable", "http_503", True),
        ("HTTP Error 429: Too Many Requests", "http_429", True),
        ("<urlopen error timed out>", "timeout", True),
        ("<urlopen error [Errno -2] Name or service not known>", "dns", True),
        ("<urlopen error [Errno 111] Connection refused>", "connection", True),
        ("<urlopen error private_address: h is at 10.0.0.1>", "private_address", False),
        ("Use of image disallowed by X-Robots-Tag directive", "robots", False),
        ("certificate verify failed", "tls", False),
        ("Image decoding error", "undecodable_upstream", False),
        ("something new", "download_failed", True),
    ],
)
def test_reasons(message, reason, retryable):
    assert download_reason(message) == reason
    assert is_retryable(reason) is retryable
