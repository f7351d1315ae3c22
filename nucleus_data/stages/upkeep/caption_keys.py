"""Maps the texts of captions to samples, to verify that every text has states.

Each task reads the captions of a group of tars, and distributes their keys, with the samples, by
the files of states to which the texts belong. The task that verifies such a file reads its part of
every group's output.
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
    """Distributes the keys of the captions in a group of tars (a task of the runner).

    Attributes:
        uri, storage_options, path, notes: As in `VerifyTask`.
        encodings: Config hashes of complete text states, each with its number of files.
    """

    uri: str
    storage_options: Mapping[str, Any]
    path: str
    notes: str
    encodings: tuple[tuple[str, int], ...]

    def run(self, number: int) -> Summary:
        """Distributes the keys of group `number`, unless that is already done."""
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
    """Returns the number of groups of tars."""
    return -(-len(folder.manifest()) // TARS_A_GROUP)


def encoding(folder: SetFolder, hashed: str) -> Encoding:
    """Returns the text states of a set with a config hash."""
    return Encoding(folder.store, folder.path, hashed, texts=True)


def dealt_name(notes: str, hashed: str, group: int) -> str:
    """Returns the path of a group's output for some text states."""
    return f"{notes}/captions-{hashed}-{group:06d}"


def keys_of(folder: SetFolder, edition: str, entries: Sequence[TarEntry]) -> pa.Table:
    """Returns the keys of all captions of some tars, with their samples, in the schema `SCHEMA`."""
    keys: list[bytes] = []
    ids: list[str] = []
    for entry in entries:
        # Captions that can't be read are reported by the tar's own task.
        with contextlib.suppress(FileNotFoundError, CorpusError):
            for row in folder.new_edition(edition).captions(entry.path).to_pylist():
                keys += [text_key(text) for text in row["captions"]]
                ids += [row["id"]] * len(row["captions"])
    return pa.table([keys, ids], schema=SCHEMA)


def said_in(folder: SetFolder, notes: str, hashed: str, part: tuple[int, int], groups: int) -> Said:
    """Returns the texts whose states a file must have, with their samples.

    Args:
        folder: The set.
        notes: Folder with the groups' output.
        hashed: Config hash of the text states.
        part: Number of the file, and number of files.
        groups: Number of groups of tars.
    """
    names = [dealt_name(notes, hashed, group) for group in range(groups)]
    rows = collect(folder.store, names, *part, SCHEMA)
    return by_key(rows)


def by_key(rows: pa.Table) -> Said:
    """Converts rows in the schema `SCHEMA` to a mapping."""
    found: defaultdict[bytes, list[str]] = defaultdict(list)
    for key, ident in zip(rows["key"].to_pylist(), rows["id"].to_pylist(), strict=True):
        found[key].append(ident)
    return found
