"""Applies the corpus's block list to rows, before and after they are fetched."""

import hashlib
from collections.abc import Mapping
from typing import Any

from nucleus_data.corpus.blocked import BlockList, Refusal
from nucleus_data.stages.ingest.fetched import Fetched
from nucleus_data.stages.ingest.listing.spool import PREFIX

URL_COLUMN = PREFIX + "url"  # of sources that hold pictures that were downloaded before
_FINAL_URL = PREFIX + "final_url"


def refused_before(row: Mapping[str, Any], blocked: BlockList) -> Fetched | None:
    """Returns the outcome of a row whose id, URL or host is blocked; None if it may be fetched.

    Args:
        row: The claim's row, with `id`, and possibly `url` or `source.url`.
        blocked: The block list.
    """
    if not blocked:
        return None
    refusal = blocked.of_id(row["id"])
    for url in (row.get("url"), row.get(URL_COLUMN)):
        refusal = refusal or blocked.of_url(url)
    return _outcome(refusal)


def refused_picture(fetched: Fetched, blocked: BlockList) -> Fetched | None:
    """Returns the outcome of a fetched row whose file or final URL is blocked; None if it is kept.

    Args:
        fetched: The fetched row.
        blocked: The block list.
    """
    if not blocked or fetched.data is None:
        return None
    refusal = blocked.of_sha256(hashlib.sha256(fetched.data).hexdigest())
    for name in (URL_COLUMN, _FINAL_URL):  # known only now, from a sidecar or a redirect
        url = fetched.columns.get(name)
        refusal = refusal or blocked.of_url(url if isinstance(url, str) else None)
    return _outcome(refusal)


def _outcome(refusal: Refusal | None) -> Fetched | None:
    return None if refusal is None else Fetched(None, refusal.reason, refusal.detail)
