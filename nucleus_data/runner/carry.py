"""Copies rows of earlier tables to their newer versions, except those that are computed again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.renewed import draft_of, list_name
from nucleus_data.corpus.tables import Table, missing_rows
from nucleus_data.runner.pins import Pins
from nucleus_data.runner.work import Summary

KEYS = ("tar_size", "tar_sha256")  # keys of a part's footer to copy


@dataclass(frozen=True)
class Move:
    """One table whose rows are copied.

    Attributes:
        name: The table.
        before, after: Its config hashes.
    """

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class CarryTask:
    """Copies the rows of one shard; idempotent, also when run twice at once.

    Attributes:
        uri: The corpus.
        storage_options: Options for fsspec.
        moves: The tables to copy.
        listed: The table of which some rows are computed again.
        list_hash: Config hash of the list of these rows.
        folder: Folder of the run, which holds the list's draft.
    """

    uri: str
    storage_options: Mapping[str, Any]
    moves: Sequence[Move]
    listed: str
    list_hash: str
    folder: str

    def run(self, number: int) -> Summary:
        """Copies a shard's part of the list, its rows, and its retryable failures."""
        corpus = Corpus(self.uri, self.storage_options)
        listed = draft_of(corpus.store, self.listed, self.folder).read(number)
        again = np.empty(0, np.int64)
        if listed is not None:
            again = listed.column("row").to_numpy()
            Table(corpus.store, list_name(self.listed), self.list_hash).append(number, listed, {})
        summary = Summary()
        for move in self.moves:
            before, after = (Table(corpus.store, move.name, h) for h in (move.before, move.after))
            summary.done += _copy(before, after, number, again)
            mended = np.union1d(again, before.covered(number))
            _copy(before.failed, after.failed, number, mended)
        return summary


def moves_between(before: Pins, after: Pins, store: Any) -> list[Move]:
    """Returns the tables of row stages whose config hash changes, and that have rows.

    Args:
        before: The pins without the list.
        after: The pins with the list.
        store: The corpus's store.
    """
    moves = []
    for name in after.specs:
        old, new = before.tables[name], after.tables[name]
        table = Table(store, name, old)
        if old != new and (table.part_names() or table.failed.part_names()):
            moves.append(Move(name, old, new))
    return moves


def _copy(before: Table, after: Table, shard: int, again: np.ndarray) -> int:
    """Copies a shard's rows that are not computed again; returns the number of new rows."""
    rows: pa.Table | None = before.read(shard)
    if rows is None:
        return 0
    rows = missing_rows(missing_rows(rows, again), after.covered(shard))
    if not rows.num_rows:
        return 0
    footer = next(iter(before.metadata(shard)), {})
    return after.append(shard, rows, {key: footer[key] for key in KEYS if key in footer})
