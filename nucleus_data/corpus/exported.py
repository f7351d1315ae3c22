"""What was exported of a corpus, and where to: so that a takedown can name it.

exported/<hash of the place>.json   what lies at a place; a later export to it takes its place

A note is written before the first file of an export. It has a place, and no content.
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
LOST = "the export could not be noted in the corpus ({}): a takedown will not name it"


def note_export(store: Store, url: str, about: Mapping[str, Any]) -> str | None:
    """Notes an export.

    Args:
        store: The corpus's.
        url: Where it lies.
        about: What it is: `as`; of a set `set`, its folder below the corpus, and `resolutions`
            (none for all).

    Returns:
        None; a line for people if the corpus cannot be written, which stops no export.
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
    """The exports that are noted, but for those whose place is known to be empty."""
    for file in store.list(FOLDER):
        name = f"{FOLDER}/{file}"
        try:
            found = read_json(store, name)
        except DamagedError:  # it is one, of what nobody knows
            found = {"as": "unknown", "url": store.url(name)}
        url = str(found.get("url"))
        if "://" in url or Path(url).exists():
            yield found


def corpus_of_set(store: Store, path: str) -> tuple[Store, str] | None:
    """The corpus that a set lies in, and its folder there; None for a set on its own.

    Args:
        store: A store.
        path: The set's folder there; empty where the store's root is the set.
    """
    if path.count("/") == 2:
        return store, path
    root, *parts = store.uri.rstrip("/").rsplit("/", 3)
    if len(parts) < 3 or parts[0] != "sets":
        return None
    corpus = Store(root, store.storage_options)
    return (corpus, "/".join(parts)) if corpus.exists(CORPUS) else None
