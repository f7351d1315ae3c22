"""How many rows the tables of a corpus have: counted from footers, or as a finished run left it.

Parts never change. So what some shards' parts hold is known for ever by the names of these parts: a
run that ends leaves the counts of each thousand shards in `runs/<run>/counts.json`, by a hash of
the names. Who counts later lists the parts, takes what was left, and reads the other footers.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.damaged import DamagedError
from nucleus_data.corpus.records import Records
from nucleus_data.corpus.runs import path_of, read_json, run_names
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table
from nucleus_data.hashing import config_hash, decode_rows

COUNTS = "counts.json"
KNOWN = "known counts"  # what listings are asked for by
SHARDS_A_GROUP = 1000
# Of so many shards the driver reads the footers itself.
MOST_SHARDS = 10_000
# Runs whose counts are looked at, the newest ones: each leaves those of all its tables.
RUNS = 64
LISTED_AT_ONCE = 16


@dataclass(frozen=True)
class Counts:
    """What some shards have of a table.

    Attributes:
        rows: Its rows; of `records`, without those that a retry has superseded.
        failed: Those of `rows` that have an error and no values.
        retryable: Rows that failed in a way that may pass: of `records`, those of `failed` that are
            downloads; of other tables, rows that are none yet.
        unknown: Shards whose footers were too many to read.
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
    """The parts of a table that some neighbouring shards have.

    Attributes:
        table: The table.
        number: Of the group: its first shard is a thousand times as much.
        texts: Kind -> file names, a line each: a list of them takes four times as much.
    """

    table: Table
    number: int
    texts: Mapping[str, str]

    @property
    def parts(self) -> list[str]:
        """File names of its parts, sorted."""
        return self._names("parts")

    @property
    def failed(self) -> list[str]:
        """File names of its failures that may pass, sorted."""
        return self._names("failed")

    @property
    def marks(self) -> list[str]:
        """Of `records`: of the marks of records that were downloaded again."""
        return self._names("marks")

    def _names(self, kind: str) -> list[str]:
        return self.texts[kind].split("\n") if kind in self.texts else []

    @cached_property
    def key(self) -> str:
        """What its counts are known by."""
        return config_hash([self.table.folder, self.parts, self.failed])

    @property
    def lasting(self) -> bool:
        """Whether its counts follow from its parts alone, and not from those of a newer shard."""
        return "marks" not in self.texts

    @property
    def shards(self) -> int:
        """How many shards it is about."""
        return len({self.table.shard_of(name) for name in (*self.parts, *self.failed)})


@dataclass
class Known:
    """What finished runs left, or one is about to leave, by the keys of groups.

    Attributes:
        counts: Of each group.
        schemas: Of groups of `records`: names of parts, one of each schema.
    """

    counts: dict[str, Counts] = field(default_factory=dict)
    schemas: dict[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def left(cls, store: Store) -> "Known":
        """What the newest runs left; damaged files are passed over.

        While listings are remembered it is one, to which is added what was read meanwhile.
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
        """As they lie under a run."""
        counts = {key: [c.rows, c.failed, c.retryable] for key, c in self.counts.items()}
        content = {"counts": counts, "schemas": self.schemas}
        return json.dumps(content, sort_keys=True).encode()


def groups_of(table: Table) -> list[Group]:
    """A table's parts, a thousand shards together; two listings, of `records` three."""
    found: dict[int, dict[str, list[str]]] = {}
    kinds = {"parts": table, "failed": table.failed}
    if isinstance(table, Records):
        kinds["marks"] = table.retried
    for kind, each in kinds.items():
        for name in each.whole_parts():
            number = each.shard_of(name) // SHARDS_A_GROUP
            found.setdefault(number, {}).setdefault(kind, []).append(name)
    return [
        Group(table, number, {kind: "\n".join(names) for kind, names in found[number].items()})
        for number in sorted(found)
    ]


def list_tables(tables: Iterable[Table]) -> None:
    """Lists several tables at once, where listings are remembered."""
    folders = [
        each.folder
        for table in tables
        for each in (table, table.failed, *([table.retried] if isinstance(table, Records) else []))
    ]
    if folders:
        (store,) = {id(table.store): table.store for table in tables}.values()
        list(at_once(store, store.listings.fetch, folders, LISTED_AT_ONCE))


def counted(
    groups: Iterable[Group], known: Known, count: Callable[[Group], Counts], most: int = MOST_SHARDS
) -> Counts:
    """The counts of a table: those known, and those of the other shards by reading their footers.

    Args:
        groups: Of the table.
        known: What is known; what was read is added to it.
        count: Reads the footers of a group.
        most: Of how many shards footers are read at most.
    """
    whole = Counts()
    for group in groups:
        if group.lasting and group.key in known.counts:
            whole += known.counts[group.key]
            continue
        if group.shards > most:
            whole += Counts(unknown=group.shards)
            continue
        most -= group.shards
        found = count(group)
        if group.lasting:
            known.counts[group.key] = found
        whole += found
    return whole


def count_table(group: Group) -> Counts:
    """Reads the footers of a group of shards of a table that is not `records`."""
    table = group.table
    rows = failed = retryable = 0
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
        retryable += len(np.setdiff1d(_rows(texts), _rows(covered.get(shard, ()))))
    return Counts(rows, failed, retryable)


def _rows(texts: Iterable[str]) -> np.ndarray:
    """The rows of several parts."""
    found = [decode_rows(text) for text in texts]
    return np.concatenate(found) if found else np.empty(0, np.int64)
