"""Addresses of stores: what is wrong with one, and what a store's own library says of it, in words.

fsspec's file systems raise what their libraries raise (botocore, huggingface_hub, aiohttp): errors
that name neither the address nor what would be right, and often no `OSError`.
"""

import re
from collections.abc import Mapping
from typing import Any

import fsspec

from nucleus_data.errors import RequestError
from nucleus_data.printed import has_surrogate

CONNECTIONS = 64
SHOWN, SHOWN_REASON = 100, 300
BUCKETS = ("s3", "s3a", "gs", "gcs")
HUB, HUB_KINDS = "hf", ("datasets", "models", "spaces", "buckets")
# As botocore checks it; an access point is named by its ARN.
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:.+")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
ALLOWED = (
    "Allowed: a local path, s3:// (pip install 'nucleus-data[s3]'), gs:// ('nucleus-data[gcs]'), "
    "or another fsspec protocol"
)


def file_system(uri: str, storage_options: Mapping[str, Any]) -> tuple[Any, str]:
    """Returns the file system for an address, and the root's path in it.

    Raises:
        RequestError: It is no address, or fsspec lacks the protocol or its package.
    """
    check_address(uri)
    options = dict(storage_options)
    if uri.startswith(("s3://", "s3a://")):
        options.setdefault("use_listings_cache", False)  # see `Store._forget`
        # botocore's own limit of 10 would have most of many requests at once wait.
        config = {"max_pool_connections": CONNECTIONS, **(options.get("config_kwargs") or {})}
        options["config_kwargs"] = config
    try:
        return fsspec.url_to_fs(uri, **options)
    except (ImportError, ValueError) as error:
        raise RequestError(f"cannot open {shown(uri)}: {error}. {ALLOWED}") from error
    except Exception as error:  # a protocol that asks for options, or connects at once
        raise not_reached(uri, error) from error


def check_address(uri: str) -> None:
    """Refuses what can't be an address, before any library is asked.

    Raises:
        RequestError: It is empty, a character is in it that no path has, no bucket can have the
            name that it gives, or it names no repository of a hub.
    """
    if "\0" in uri or not uri:
        what = "a null character is in it" if uri else "it is empty"
        raise RequestError(f"cannot open {shown(uri)}: {what}. {ALLOWED}")
    if has_surrogate(uri):  # DuckDB can't read below it, and would call what is there damaged
        raise RequestError(
            f"cannot open {shown(uri)}: its path is no UTF-8 text. Rename it, or make a link to it "
            "under another name"
        )
    match = _ADDRESS.fullmatch(uri)
    if match is None:
        return
    protocol, parts = match[1], match[2].split("/")
    if protocol in BUCKETS and _BUCKET.fullmatch(parts[0]) is None:
        found = f"no bucket is called {parts[0]!r}" if parts[0] else "it names no bucket"
        raise RequestError(
            f"cannot open {shown(uri)}: {found}. Allowed: {protocol}://BUCKET/FOLDER, where BUCKET "
            "has letters, digits, dots, dashes and underscores"
        )
    repository = parts[1:3] if parts[0] in HUB_KINDS else parts[:2]
    if protocol == HUB and (len(repository) < 2 or not all(repository)):
        raise RequestError(
            f"cannot open {shown(uri)}: it names no repository. Allowed: hf://datasets/OWNER/NAME "
            "or hf://OWNER/NAME, with a folder or file of it behind"
        )


def not_reached(uri: str, error: Exception) -> RequestError:
    """The error for a store whose library refuses an address, or can't reach it."""
    return RequestError(
        f"cannot open {shown(uri)}: {reason(error)}. Give a folder that this user may read, or the "
        "URL of a store, with its credentials in storage_options"
    )


def reason(error: Exception) -> str:
    """What an error says, on one line; its name alone says little, and is there if nothing else."""
    known = isinstance(error, OSError) and error.strerror
    words = " ".join(str(known or error).split()).rstrip(".") or type(error).__name__
    cut = words if len(words) <= SHOWN_REASON else f"{words[:SHOWN_REASON]}..."
    if isinstance(error, LookupError | TypeError | AttributeError):  # no words for people
        return f"{type(error).__name__}: {cut}"
    return cut if cut[1:2].isupper() else f"{cut[0].lower()}{cut[1:]}"


def shown(uri: str) -> str:
    """An address in quotes, cut if it is very long."""
    return repr(uri if len(uri) < SHOWN else f"{uri[:SHOWN]}...")
