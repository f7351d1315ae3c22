"""Rows that the corpus's block list refuses, before they are asked for and when they have come."""

import hashlib
from collections.abc import Mapping
from typing import Any

from nucleus_data.corpus.blocked import BlockList, Refusal
from nucleus_data.stages.ingest.fetched import Fetched
from nucleus_data.stages.ingest.listing.spool import PREFIX

URL_COLUMN = PREFIX + "url"  # of sources that hold pictures that were downloaded before
_FINAL_URL = PREFIX + "final_url"


def refused_before(row: Mapping[str, Any], blocked: BlockList) -> Fetched | None:
    """The outcome of a row that is not asked for: its id, its URL or its host is blocked.

    Args:
        row: A claim's row: `id`, and `url` or `source.url` where there is one.
        blocked: The block list.
    """
    if not blocked:
        return None
    refusal = blocked.of_id(row["id"])
    for url in (row.get("url"), row.get(URL_COLUMN)):
        refusal = refusal or blocked.of_url(url)
    return _outcome(refusal)


def refused_picture(fetched: Fetched, blocked: BlockList) -> Fetched | None:
    """The outcome of a row that came and is not kept: its bytes or where they came from is blocked.

    Args:
        fetched: What came.
        blocked: The block list.
    """
    if not blocked or fetched.data is None:
        return None
    refusal = blocked.of_sha256(hashlib.sha256(fetched.data).hexdigest())
    for name in (URL_COLUMN, _FINAL_URL):  # known by a sidecar only now; by a redirect
        url = fetched.columns.get(name)
        refusal = refusal or blocked.of_url(url if isinstance(url, str) else None)
    return _outcome(refusal)


def _outcome(refusal: Refusal | None) -> Fetched | None:
    return None if refusal is None else Fetched(None, refusal.reason, refusal.detail)
