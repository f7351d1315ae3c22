"""Row counts of a corpus's tables, from the parts' footers, with a cache left by finished runs.

Parts never change, so the names of a group's parts determine its counts. A run that ends stores the
counts of each group of 1,000 shards in `runs/<run>/counts.json`, under a hash of the part names.
Counting then takes a listing of the parts, the cached counts, and the footers of the other groups.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.parts import row_numbers
from nucleus_data.corpus.runs import path_of, read_json, run_names
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table
from nucleus_data.hashing import config_hash

COUNTS = "counts.json"
KNOWN = "known counts"  # key of the cached counts in `Listings.made`
SHARDS_A_GROUP = 1000
# Maximum number of shards whose footers the driver itself reads.
MOST_SHARDS = 10_000
# Number of newest runs whose counts are read; each run stores those of all its tables.
RUNS = 64
LISTED_AT_ONCE = 16


@dataclass(frozen=True)
class Counts:
    """Counts of a table's rows in some shards.

    Attributes:
        rows: Number of rows; of `records`, without those that a retry superseded.
        failed: Number of these with an error instead of values.
        retryable: Number of retryable failures: of `records`, those of `failed` that are downloads;
            of other tables, they are in `_failed/`, and not counted in `rows`.
        unknown: Number of shards that are not counted, as there are too many footers to read.
    """

    rows: int = 0
    failed: int = 0
    retryable: int = 0
    unknown: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.rows + other.rows,
            self.failed + other.failed,
            self.retryable + other.retryable,
            self.unknown + other.unknown,
        )


@dataclass(frozen=True)
class Group:
    """The parts of a table in a group of 1,000 adjacent shards.

    Attributes:
        table: The table.
        number: The group's number: shard number // 1,000.
        texts: Kind (as in `Table.with_companions`) -> file names joined by newlines; as a list,
            they would take four times the memory.
    """

    table: Table
    number: int
    texts: Mapping[str, str]

    @property
    def parts(self) -> list[str]:
        """File names of the table's parts, sorted."""
        return self._names("parts")

    @property
    def failed(self) -> list[str]:
        """File names of the parts with retryable failures, sorted."""
        return self._names("failed")

    @property
    def marks(self) -> list[str]:
        """File names of the parts of `Records.retried`, sorted; empty for other tables."""
        return self._names("marks")

    def _names(self, kind: str) -> list[str]:
        return self.texts[kind].split("\n") if kind in self.texts else []

    @cached_property
    def key(self) -> str:
        """Key of the group's cached counts: a hash of the table's folder and the part names."""
        return config_hash([self.table.folder, self.parts, self.failed])

    @property
    def lasting(self) -> bool:
        """Whether its own parts determine its counts; with marks, newer shards matter as well."""
        return "marks" not in self.texts

    @property
    def shards(self) -> int:
        """Number of shards with a part."""
        return len({self.table.shard_of(name) for name in (*self.parts, *self.failed)})


@dataclass
class Known:
    """Cached counts, as finished runs stored them or a run is about to.

    Attributes:
        counts: Key of a group -> its counts.
        schemas: Key of a group of `records` -> names of parts, one for each distinct schema.
    """

    counts: dict[str, Counts] = field(default_factory=dict)
    schemas: dict[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def left(cls, store: Store) -> "Known":
        """Returns what the newest runs stored; damaged files are ignored.

        While listings are cached, the same object is returned, with counts that were added to it.
        """
        return store.listings.made(KNOWN, lambda: cls._read(store))

    @classmethod
    def _read(cls, store: Store) -> "Known":
        def read(run: str) -> Mapping[str, Any]:
            try:
                return read_json(store, path_of(run, COUNTS))
            except DamagedError:
                return {}

        found = cls()
        for content in at_once(store, read, run_names(store)[: -RUNS - 1 : -1]):
            for key, numbers in content.get("counts", {}).items():
                found.counts.setdefault(key, Counts(*numbers))
            found.schemas = content.get("schemas", {}) | found.schemas
        return found

    def encode(self) -> bytes:
        """Returns the content of `counts.json`."""
        counts = {key: [c.rows, c.failed, c.retryable] for key, c in self.counts.items()}
        content = {"counts": counts, "schemas": self.schemas}
        return json.dumps(content, sort_keys=True).encode()


def groups_of(table: Table) -> list[Group]:
    """Groups a table's parts by 1,000 shards; lists two folders, or three for `records`."""
    found: dict[int, dict[str, list[str]]] = {}
    for kind, companion in table.with_companions().items():
        for name in companion.whole_parts():
            number = companion.shard_of(name) // SHARDS_A_GROUP
            found.setdefault(number, {}).setdefault(kind, []).append(name)
    return [
        Group(table, number, {kind: "\n".join(names) for kind, names in found[number].items()})
        for number in sorted(found)
    ]


def list_tables(tables: Iterable[Table]) -> None:
    """Lists the folders of several tables concurrently, if listings are being cached."""
    tables = list(tables)
    folders = [one.folder for table in tables for one in table.with_companions().values()]
    if folders:
        (store,) = {id(table.store): table.store for table in tables}.values()
        list(at_once(store, store.listings.fetch, folders, LISTED_AT_ONCE))


def counted(
    groups: Iterable[Group], known: Known, count: Callable[[Group], Counts], most: int = MOST_SHARDS
) -> Counts:
    """Returns the counts of a table, from the cache and, for other groups, from footers.

    Args:
        groups: The table's groups.
        known: The cached counts; new ones are added.
        count: Counts a group by reading its footers.
        most: Maximum number of shards whose footers to read; others are counted as `unknown`.
    """
    total = Counts()
    for group in groups:
        if group.lasting and group.key in known.counts:
            total += known.counts[group.key]
            continue
        if group.shards > most:
            total += Counts(unknown=group.shards)
            continue
        most -= group.shards
        found = count(group)
        if group.lasting:
            known.counts[group.key] = found
        total += found
    return total


def count_table(group: Group) -> Counts:
    """Counts a group by reading its footers; for tables other than `records`."""
    table = group.table
    rows = failed = retryable = 0
    # A retryable failure is only counted if the row has no value since.
    waiting = {table.shard_of(name) for name in group.failed}
    covered: dict[int, list[str]] = {}
    for footer in table.footers(group.parts):
        rows += footer.num_rows
        failed += footer.count("error")
        if (shard := int(footer.keys["shard"])) in waiting:
            covered.setdefault(shard, []).append(footer.rows)
    lost: dict[int, list[str]] = {}
    for footer in table.failed.footers(group.failed):
        lost.setdefault(int(footer.keys["shard"]), []).append(footer.rows)
    for shard, texts in lost.items():
        retryable += len(np.setdiff1d(row_numbers(texts), row_numbers(covered.get(shard, ()))))
    return Counts(rows, failed, retryable)
