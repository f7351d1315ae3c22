"""Tasks that are done once: a finished one leaves a marker with its counts beside its files."""

import json
from collections.abc import Callable

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.store import Store


def once(store: Store, marker: str, work: Callable[[], dict[str, int]]) -> dict[str, int]:
    """Does some work, unless it was done.

    The marker comes last: work that was killed is done again, and writes the same files.

    Args:
        store: The store that the marker is in.
        marker: Path of the marker in the store.
        work: Returns its counts.

    Returns:
        The counts, now or then.
    """
    try:
        found: dict[str, int] = json.loads(store.read(marker))
    except FileNotFoundError:
        found = work()
        store.create(marker, json.dumps(found, sort_keys=True).encode())
    return found


def remove_files(store: Store, folder: str) -> None:
    """Removes the files that lie directly in a folder, many at a time."""
    names = (f"{folder}/{name}" for name in store.list(folder))
    list(at_once(store, store.remove, names))


def remove_folder(store: Store, folder: str) -> None:
    """Removes a folder with all that is in it, if it is there."""
    if store.list(folder):
        store.fs.rm(store.path(folder), recursive=True)
