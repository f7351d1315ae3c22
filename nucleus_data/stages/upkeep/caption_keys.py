"""Whose caption is which text: what the text states beside a set must have, and who lacks them.

A group of tars deals the keys of its captions, with their samples, by the files of states that the
texts belong to; who verifies such a file reads its part of each group's.
"""

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.corpus.dealing import collect, deal
from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Summary
from nucleus_data.sets.encoded import KEY, Encoding, part_of, text_key
from nucleus_data.sets.layout import SetFolder, TarEntry

TARS_A_GROUP = 64
SCHEMA = pa.schema([("key", pa.binary(KEY)), ("id", pa.string())])
# Key of a text -> the samples that have it as a caption, in the set's order.
Said = Mapping[bytes, Sequence[str]]


@dataclass(frozen=True)
class CaptionKeysTask:
    """Deals the keys of the captions in a group of tars (a task of the runner).

    Attributes:
        uri, storage_options, path, notes: As in `VerifyTask`.
        encodings: Config hashes of complete text states, each with how many files it has.
    """

    uri: str
    storage_options: Mapping[str, Any]
    path: str
    notes: str
    encodings: tuple[tuple[str, int], ...]

    def run(self, number: int) -> Summary:
        """Deals them, unless it is done; `number` is the group."""
        store = Store(self.uri, self.storage_options)
        folder = SetFolder(store, self.path)
        first = number * TARS_A_GROUP
        for hashed, parts in self.encodings:
            name = dealt_name(self.notes, hashed, number)
            if not store.exists(name):
                edition = str((encoding(folder, hashed).about() or {})["edition"])
                rows = keys_of(folder, edition, folder.manifest()[first : first + TARS_A_GROUP])
                reader = [part_of(key, parts) for key in rows["key"].to_pylist()]
                deal(store, name, rows, np.array(reader, np.int64), parts)
        return Summary(rows=1, done=1)


def groups_of(folder: SetFolder) -> int:
    """How many groups of tars there are."""
    return -(-len(folder.manifest()) // TARS_A_GROUP)


def encoding(folder: SetFolder, hashed: str) -> Encoding:
    """Text states beside a set."""
    return Encoding(folder.store, folder.path, hashed, texts=True)


def dealt_name(notes: str, hashed: str, group: int) -> str:
    """Path of what a group deals for some text states."""
    return f"{notes}/captions-{hashed}-{group:06d}"


def keys_of(folder: SetFolder, edition: str, entries: Sequence[TarEntry]) -> pa.Table:
    """The keys of all captions of some tars, with their samples, as `SCHEMA`."""
    keys: list[bytes] = []
    ids: list[str] = []
    for entry in entries:
        # Of captions that cannot be read, the tar's own task says so.
        with contextlib.suppress(FileNotFoundError, CorpusError):
            for row in folder.new_edition(edition).captions(entry.path).to_pylist():
                keys += [text_key(text) for text in row["captions"]]
                ids += [row["id"]] * len(row["captions"])
    return pa.table([keys, ids], schema=SCHEMA)


def said_in(folder: SetFolder, notes: str, hashed: str, part: tuple[int, int], groups: int) -> Said:
    """The texts whose states a file must have.

    Args:
        folder: The set.
        notes: Where the groups' files are.
        hashed: Config hash of the text states.
        part: The file's number, and how many there are.
        groups: How many groups of tars there are.
    """
    names = [dealt_name(notes, hashed, group) for group in range(groups)]
    rows = collect(folder.store, names, *part, SCHEMA)
    return by_key(rows)


def by_key(rows: pa.Table) -> Said:
    """Rows of `SCHEMA` as a mapping."""
    found: defaultdict[bytes, list[str]] = defaultdict(list)
    for key, ident in zip(rows["key"].to_pylist(), rows["id"].to_pylist(), strict=True):
        found[key].append(ident)
    return found
