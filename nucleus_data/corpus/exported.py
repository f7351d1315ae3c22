"""Notes about exports of a corpus, so that a takedown can list the copies outside the corpus.

exported/<hash of the target's URL>.json   what was exported there; replaced by a later export

A note is written before the first file of an export. It names the target, but has no content of it.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nucleus_data.corpus.damaged import CORPUS, DamagedError, read_json
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.hashing import config_hash

FOLDER = "exported"
LOST = "the export could not be recorded in the corpus ({}): a takedown will not list it"


def note_export(store: Store, url: str, about: Mapping[str, Any]) -> str | None:
    """Writes the note about an export.

    Args:
        store: The corpus's store.
        url: Target of the export.
        about: Its content: `as` (the format); for a training set, also `set` (its folder below the
            corpus) and `resolutions` (empty for all).

    Returns:
        None; or a warning for people, if the corpus can't be written to. The export may go on.
    """
    content = json.dumps({**about, "url": url}, sort_keys=True, indent=1).encode()
    name = f"{FOLDER}/{config_hash({'url': url})}.json"
    try:
        with contextlib.suppress(FileNotFoundError):
            if store.read(name) == content:
                return None
        store.put(name, content)
    except (OSError, RequestError, CorpusError) as error:
        return LOST.format(str(error).splitlines()[0] if str(error) else type(error).__name__)
    return None


def exports(store: Store) -> Iterator[dict[str, Any]]:
    """Yields the notes, except those about local targets that no longer exist."""
    for file in store.list(FOLDER):
        name = f"{FOLDER}/{file}"
        try:
            found = read_json(store, name)
        except DamagedError:  # there was an export, but its target is unknown
            found = {"as": "unknown", "url": store.url(name)}
        url = str(found.get("url"))
        if "://" in url or Path(url).exists():
            yield found


def corpus_of_set(store: Store, path: str) -> tuple[Store, str] | None:
    """Returns the corpus of a set, and the set's folder below it; None if it is in no corpus.

    Args:
        store: The store of the set.
        path: The set's folder below the store's root; empty if the root is the set.
    """
    if path.count("/") == 2:
        return store, path
    root, *parts = store.uri.rstrip("/").rsplit("/", 3)
    if len(parts) < 3 or parts[0] != "sets":
        return None
    corpus = Store(root, store.storage_options)
    return (corpus, "/".join(parts)) if corpus.exists(CORPUS) else None
