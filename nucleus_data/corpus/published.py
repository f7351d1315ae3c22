"""Markers (`_published.json`) of complete corpus-wide tables, with their sums."""

import json
from collections.abc import Mapping
from typing import Any

from nucleus_data.corpus.damaged import PUBLISHED as MARKER
from nucleus_data.corpus.damaged import read_json
from nucleus_data.corpus.store import Store


def publish(
    store: Store, folder: str, content: Mapping[str, Any], *, indent: int | None = None
) -> None:
    """Marks a table as complete.

    Args:
        store: The corpus's store.
        folder: The table's folder.
        content: The table's sums, JSON-able.
        indent: Indentation of the JSON, in spaces; must not change for a table, as markers of
            earlier versions have to stay equal.
    """
    text = json.dumps(content, sort_keys=True, indent=indent)
    store.create(f"{folder}/{MARKER}", text.encode())


def published(store: Store, folder: str) -> dict[str, Any] | None:
    """Returns the sums of a complete table; None if it is not complete.

    Raises:
        DamagedError: The marker can't be read.
    """
    name = f"{folder}/{MARKER}"
    if name in store.left_out:
        return None
    try:
        return read_json(store, name)
    except FileNotFoundError:
        return None
