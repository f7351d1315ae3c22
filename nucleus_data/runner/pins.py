"""Pins of a run: the config hash of every table, and the signals that they provide."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pyarrow as pa

from nucleus_data.corpus import RECORDS_HASH, Corpus
from nucleus_data.corpus.renewed import list_name, next_list
from nucleus_data.corpus.tables import plain
from nucleus_data.errors import RequestError
from nucleus_data.hashing import config_hash
from nucleus_data.stage import RowStage, Stage, TableSpec

SET, EDITION, COLUMNS = "set", "edition", "columns"


@dataclass(frozen=True)
class Pins:
    """Config hashes, from the configuration and from the stages' own pins.

    Attributes:
        tables: Config hash of every table known so far, by name.
        specs: Specifications of the row stages' tables, by name.
        readable: Names of the tables that rules may read.
        training_set: `sets/<name>/<config hash>`; None if not pinned yet.
        edition: Config hash of its captions; None if not pinned yet.
        columns: Config hash of its index columns; None if not pinned yet.
        rounds: Table -> how often some of its rows were computed again (`corpus.renewed`).
    """

    tables: Mapping[str, str]
    specs: Mapping[str, TableSpec] = field(default_factory=dict)
    readable: frozenset[str] = frozenset()
    training_set: str | None = None
    edition: str | None = None
    columns: str | None = None
    rounds: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        stages: Iterable[Stage],
        corpus: Corpus | None = None,
        again: Mapping[str, str] = MappingProxyType({}),
    ) -> "Pins":
        """Pins `records` and the tables of row stages, which follow from the settings alone.

        Args:
            stages: The stages, in the order of the line.
            corpus: Where stages find input tables that no stage writes. Without it, tables that
                depend on those are left out.
            again: Table -> config hash of a further list of rows to compute again, after all lists
                that the corpus has.
        """
        hashes = {"records": RECORDS_HASH}
        specs: dict[str, TableSpec] = {}
        readable: set[str] = set()
        rounds: dict[str, int] = {}
        for stage in stages:
            if not isinstance(stage, RowStage):
                continue
            hashes |= stage.find_inputs(corpus, hashes)
            for spec in stage.tables():
                if corpus is None and not {*spec.inputs} <= hashes.keys():
                    continue
                specs[spec.name] = spec
                # A table may be pinned with two hashes; rules read the one with the plain name.
                if stage.readable and plain(spec.name) == spec.name:
                    readable.add(spec.name)
                inputs = {plain(name): hashes[name] for name in spec.inputs}
                hashes[spec.name], lists = _newest(spec, inputs, corpus)
                if spec.name in again:
                    lists.append(again[spec.name])
                    hashes[spec.name] = _hash(spec, inputs, lists)
                if lists:
                    rounds[spec.name] = len(lists)
                    hashes[list_name(spec.name)] = lists[-1]
        return cls(hashes, specs, frozenset(readable), rounds=rounds)

    def set_hashes(self) -> dict[str, str | None]:
        """Returns the pins of the training set, by the names that stages' `pin` uses for them."""
        return {SET: self.training_set, EDITION: self.edition, COLUMNS: self.columns}

    def adding(self, found: Mapping[str, str]) -> "Pins":
        """Returns these pins with those that a stage's `pin` returned."""
        tables = {n: h for n, h in found.items() if n not in (SET, EDITION, COLUMNS)}
        return replace(
            self,
            tables={**self.tables, **tables},
            training_set=found.get(SET, self.training_set),
            edition=found.get(EDITION, self.edition),
            columns=found.get(COLUMNS, self.columns),
        )

    def variants(self, prefix: str) -> list[str]:
        """Returns the table names with a prefix (`caption.`), without the prefix, sorted."""
        return sorted(n.removeprefix(prefix) for n in self.specs if n.startswith(prefix))

    def signals(self) -> dict[tuple[str, str], pa.DataType]:
        """Returns the signals that rules may read: (table, signal) -> type."""
        return {
            (spec.name, column.name): column.type
            for spec in self.specs.values()
            if spec.name in self.readable
            for column in spec.schema
            if not pa.types.is_list(column.type)
        }

    def catalog(self) -> dict[str, str]:
        """Returns signal name -> table.

        Raises:
            RequestError: Two tables have a signal of the same name.
        """
        tables: dict[str, str] = {}
        for table, name in self.signals():
            if name in tables:
                raise RequestError(
                    f"inspect.signals, score.heads: the name {name!r} is used in {tables[name]} "
                    f"and in {table}; rename one"
                )
            tables[name] = table
        return tables


def _newest(
    spec: TableSpec, inputs: Mapping[str, str], corpus: Corpus | None
) -> tuple[str, list[str]]:
    """Returns a table's current config hash, and its lists of rows to compute again."""
    lists: list[str] = []
    while True:
        hashed = _hash(spec, inputs, lists)
        if corpus is None or not spec.again:
            return hashed, lists
        found = next_list(corpus.store, plain(spec.name), hashed)
        if found is None:
            return hashed, lists
        lists.append(found)


def _hash(spec: TableSpec, inputs: Mapping[str, str], lists: Sequence[str]) -> str:
    content = {
        "table": plain(spec.name),
        "version": spec.version,
        "settings": dict(spec.settings),
        "inputs": dict(inputs),
    }
    return config_hash(content | ({"again": list(lists)} if lists else {}))
