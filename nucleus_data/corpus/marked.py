"""Tasks that run only once: a finished task leaves a marker with its counts."""

import json
from collections.abc import Callable

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.store import Store


def once(store: Store, marker: str, work: Callable[[], dict[str, int]]) -> dict[str, int]:
    """Runs a task, unless its marker exists.

    The marker is written last, so a killed task runs again; it must write the same files then.

    Args:
        store: The store of the marker.
        marker: Path of the marker in the store.
        work: The task; returns its counts.

    Returns:
        The counts of the task, or of its earlier run.
    """
    try:
        found: dict[str, int] = json.loads(store.read(marker))
    except FileNotFoundError:
        found = work()
        store.create(marker, json.dumps(found, sort_keys=True).encode())
    return found


def remove_files(store: Store, folder: str) -> None:
    """Removes the files directly in a folder, many concurrently."""
    names = (f"{folder}/{name}" for name in store.list(folder))
    list(at_once(store, store.remove, names))
