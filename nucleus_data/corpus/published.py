"""Markers that say that a corpus-wide table is complete, beside its parts, with its sums."""

import json
from collections.abc import Mapping
from typing import Any

from nucleus_data.corpus.damaged import PUBLISHED as MARKER
from nucleus_data.corpus.damaged import read_json
from nucleus_data.corpus.store import Store


def publish(
    store: Store, folder: str, content: Mapping[str, Any], *, indent: int | None = None
) -> None:
    """Says that a table is complete.

    Args:
        store: The corpus's store.
        folder: The table's folder.
        content: Its sums, JSON-able.
        indent: Spaces that the JSON is indented by; a table keeps what it was first written with.
    """
    text = json.dumps(content, sort_keys=True, indent=indent)
    store.create(f"{folder}/{MARKER}", text.encode())


def published(store: Store, folder: str) -> dict[str, Any] | None:
    """What was published about a table; None if it is not complete.

    Raises:
        DamagedError: What says so cannot be read.
    """
    name = f"{folder}/{MARKER}"
    if name in store.left_out:
        return None
    try:
        return read_json(store, name)
    except FileNotFoundError:
        return None
