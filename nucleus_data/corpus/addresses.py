"""Checks addresses of stores, and words their errors.

fsspec's file systems raise the errors of their libraries (botocore, huggingface_hub, aiohttp),
which name neither the address nor what is allowed, and often are no `OSError`.
"""

import re
from collections.abc import Mapping
from typing import Any

import fsspec

from nucleus_data.errors import RequestError
from nucleus_data.printed import has_surrogate

CONNECTIONS = 64  # maximum open connections to an S3 store
SHOWN, SHOWN_REASON = 100, 300  # maximum characters of an address, and of a reason, in a message
BUCKETS = ("s3", "s3a", "gs", "gcs")
HUB, HUB_KINDS = "hf", ("datasets", "models", "spaces", "buckets")
# The same check as botocore's; an access point is named by its ARN.
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:.+")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
ALLOWED = (
    "Allowed: a local path, s3:// (pip install 'nucleus-data[s3]'), gs:// ('nucleus-data[gcs]'), "
    "or another fsspec protocol"
)


def file_system(uri: str, storage_options: Mapping[str, Any]) -> tuple[Any, str]:
    """Returns the fsspec file system for an address, and the root's path in it.

    Args:
        uri: The address.
        storage_options: Options for fsspec.

    Raises:
        RequestError: The address is malformed or can't be reached, or fsspec lacks the protocol or
            its package.
    """
    check_address(uri)
    options = dict(storage_options)
    if uri.startswith(("s3://", "s3a://")):
        options.setdefault("use_listings_cache", False)  # see `Store._forget`
        # With botocore's default of 10, most of many concurrent requests would wait.
        config = {"max_pool_connections": CONNECTIONS, **(options.get("config_kwargs") or {})}
        options["config_kwargs"] = config
    try:
        return fsspec.url_to_fs(uri, **options)
    except (ImportError, ValueError) as error:
        raise RequestError(f"cannot open {shown(uri)}: {error}. {ALLOWED}") from error
    except Exception as error:  # a protocol that needs options, or connects at once
        raise not_reached(uri, error) from error


def check_address(uri: str) -> None:
    """Refuses a malformed address, before any library sees it.

    Raises:
        RequestError: It is empty, has a character that no path can have, or its bucket or hub
            repository is missing or malformed.
    """
    if "\0" in uri or not uri:
        what = "it contains a null character" if uri else "it is empty"
        raise RequestError(f"cannot open {shown(uri)}: {what}. {ALLOWED}")
    if has_surrogate(uri):  # DuckDB can't read such paths; all files would seem damaged
        raise RequestError(
            f"cannot open {shown(uri)}: its path is not UTF-8 text. Rename it, or create a link to "
            "it under another name"
        )
    match = _ADDRESS.fullmatch(uri)
    if match is None:
        return
    protocol, parts = match[1], match[2].split("/")
    if protocol in BUCKETS and _BUCKET.fullmatch(parts[0]) is None:
        found = f"{parts[0]!r} is not a bucket name" if parts[0] else "the bucket is missing"
        raise RequestError(
            f"cannot open {shown(uri)}: {found}. Allowed: {protocol}://BUCKET/FOLDER, where BUCKET "
            "consists of letters, digits, dots, dashes and underscores"
        )
    repository = parts[1:3] if parts[0] in HUB_KINDS else parts[:2]
    if protocol == HUB and (len(repository) < 2 or not all(repository)):
        raise RequestError(
            f"cannot open {shown(uri)}: the repository is missing. Allowed: "
            "hf://datasets/OWNER/NAME or hf://OWNER/NAME, followed by a folder or file in it"
        )


def not_reached(uri: str, error: Exception) -> RequestError:
    """Makes the error for a store that its library can't open."""
    return RequestError(
        f"cannot open {shown(uri)}: {reason(error)}. Give a folder that this user may read, or the "
        "URL of a store, with its credentials in storage_options"
    )


def reason(error: Exception) -> str:
    """Returns an error's message on one line, without its final full stop; cut if it is long."""
    system_message = isinstance(error, OSError) and error.strerror
    words = " ".join(str(system_message or error).split()).rstrip(".") or type(error).__name__
    cut = words if len(words) <= SHOWN_REASON else f"{words[:SHOWN_REASON]}..."
    if isinstance(error, LookupError | TypeError | AttributeError):  # no message for people
        return f"{type(error).__name__}: {cut}"
    return cut if cut[1:2].isupper() else f"{cut[0].lower()}{cut[1:]}"


def shown(uri: str) -> str:
    """Returns an address in quotes, cut if it is very long."""
    return repr(uri if len(uri) < SHOWN else f"{uri[:SHOWN]}...")
