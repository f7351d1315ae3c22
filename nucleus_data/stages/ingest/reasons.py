"""Reason codes of downloads that failed, made of messages, and which of them may pass."""

import re

_HTTP = re.compile(r"HTTP Error (\d{3})")
_PATTERNS = (
    (r"private_address", "private_address"),
    (r"timed out|timeout", "timeout"),
    (r"unknown url type|no host given", "bad_scheme"),
    (r"X-Robots-Tag", "robots"),
    (r"hash mismatch", "hash_mismatch"),
    (r"too small|too large", "filtered_upstream"),
    (r"decoding error|cannot identify", "undecodable_upstream"),
    (r"Errno -[235]\b|getaddrinfo|name or service|nodename|idna", "dns"),
    (r"certificate|SSL", "tls"),
    (r"refused|reset|unreachable|IncompleteRead|closed connection|Broken pipe", "connection"),
)
_MAY_PASS = re.compile(
    r"timeout|dns|connection|download_failed|not_reported|empty_file|http_(408|425|429|5\d\d)"
    r"|too_slow|robots_unreachable|crawl_delay|host_down"
)


def download_reason(message: str) -> str:
    """A reason code (`http_404`, `timeout`, …) for a message of urllib or of img2dataset."""
    if match := _HTTP.search(message):
        return f"http_{match[1]}"
    for pattern, reason in _PATTERNS:
        if re.search(pattern, message, re.IGNORECASE):
            return reason
    return "download_failed"


def is_retryable(reason: str) -> bool:
    """Whether a later attempt may succeed."""
    return _MAY_PASS.fullmatch(reason) is not None
