"""`select`, shard by shard: table `rules`, the duplicate walk, and table `selection` of both.

The walk is the one corpus-wide part. It reads only records that are in a pair, so its memory grows
with the duplicates. The tables that are made lie under `tables/`, or, of a what-if, under its run.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.dedup.walk import walk
from nucleus_data.errors import CorpusError
from nucleus_data.runner.rows import Summary, sample_rows
from nucleus_data.select.decide import DECISION_FIELDS, DECISION_SCHEMA, count_states, decide
from nucleus_data.select.rules import Rule
from nucleus_data.store import Store
from nucleus_data.tables import KEY_FIELDS, Table, missing_rows, parts_sql, table_schema

SURVIVOR_SCHEMA = pa.schema([*KEY_FIELDS, pa.field("duplicate_of", pa.string())])
DUPLICATE_REASON = "duplicate"
PUBLISHED = "_published.json"
ROOT = "tables"
WRITERS = 8
RECORD_COLUMNS = ("shard", "row", "id", "error", "retryable")


def decision_table(store: Store, name: str, tables: Mapping[str, str], root: str = ROOT) -> Table:
    """Table `rules`, `survivors` or `selection`.

    Args:
        store: The corpus's store.
        name: Which.
        tables: Config hashes of `rules` and `selection`.
        root: The folder that it lies under.
    """
    hashed = tables["rules" if name == "rules" else "selection"]
    return Table(store, name, hashed, folder=f"{root}/{name}/{hashed}")


class Decisions(NamedTuple):
    """What a selection is made with: rules, the tables that they need, those of the preference."""

    rules: list[Rule]
    required: list[str]
    prefer_tables: list[str]


@dataclass(frozen=True)
class RulesTask:
    """Applies the rules to one shard (a task of the runner).

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        rules: Checked rules.
        tables: Config hashes of the tables that the rules read, of `rules` and of `selection`.
        required: Tables without whose row a record is pending.
        sample: Share of the records to decide about.
        limits: Shard -> number of records, where fewer than all are asked for.
        root: Where the table goes.
    """

    uri: str
    storage_options: Mapping[str, Any]
    rules: Sequence[Rule]
    tables: Mapping[str, str]
    required: Sequence[str]
    sample: float = 1.0
    limits: Mapping[int, int] | None = None
    root: str = ROOT

    def run(self, number: int) -> Summary:
        """Decides about the records of a shard, before duplicates."""
        corpus = Corpus(self.uri, self.storage_options)
        target = decision_table(corpus.store, "rules", self.tables, self.root)
        records = sample_rows(self._records(corpus, number), self.sample)
        if self.limits is not None:
            records = records.slice(0, self.limits.get(number, 0))
        summary = Summary(rows=records.num_rows)
        # A shard that a limit or a sample leaves nothing of gets a part without rows.
        if records.num_rows and len(target.covered(number)) == records.num_rows:
            summary.already = records.num_rows
            return summary
        tables = {n: Table(corpus.store, n, self.tables[n]) for n in self.required}
        decided = decide(
            records,
            {name: table.read(number, self._columns(name)) for name, table in tables.items()},
            {name: _still_failed(table, number) for name, table in tables.items()},
            self.rules,
            self.required,
        )
        schema = table_schema(DECISION_SCHEMA, error=False)
        target.append(number, decided.cast(schema), {})
        summary.done = decided.num_rows
        return summary

    def _records(self, corpus: Corpus, number: int) -> pa.Table:
        """A shard's records with what rules read of them, as far as the shard has it."""
        records = corpus.records
        # `Records.read` would refuse a column that no part of this shard has.
        found = Table.read(records, number, [*RECORD_COLUMNS, *self._read_by_rules("records")])
        if found is None:
            raise CorpusError(f"shard {number} has no records")
        gone = records.superseded(number)
        return missing_rows(found, gone) if len(gone) else found

    def _columns(self, table: str) -> list[str]:
        return ["row", "error", *self._read_by_rules(table)]

    def _read_by_rules(self, table: str) -> list[str]:
        columns = (c for rule in self.rules for c in rule.columns if c.table == table)
        return list(dict.fromkeys(column.name for column in columns))


@dataclass(frozen=True)
class LedgerTask:
    """Joins one shard's rules with the walk's outcome into the selection (a task of the runner)."""

    uri: str
    storage_options: Mapping[str, Any]
    tables: Mapping[str, str]
    root: str = ROOT

    def run(self, number: int) -> Summary:
        """Writes a shard's part of the selection."""
        corpus = Corpus(self.uri, self.storage_options)
        rules, survivors, target = (
            decision_table(corpus.store, name, self.tables, self.root)
            for name in ("rules", "survivors", "selection")
        )
        return self._write(number, rules.read(number), survivors.read(number), target)

    def _write(
        self, number: int, rules: pa.Table | None, survivors: pa.Table | None, target: Table
    ) -> Summary:
        if rules is None:
            raise CorpusError(f"shard {number} has no rows in table rules")
        if survivors is not None:
            rules = mark_duplicates(rules, survivors)
        summary = Summary(rows=rules.num_rows)
        if rules.num_rows and len(target.covered(number)) == rules.num_rows:
            summary.already = rules.num_rows
        else:
            summary.done = target.append(number, rules, {})
        summary.extra = Counter(count_states(rules))
        for column in ("reasons", "flags", "nulls", "pending_on"):
            for item in pc.list_flatten(rules.column(column)).value_counts().to_pylist():
                summary.extra[f"{column}:{item['values']}"] = item["counts"]
        return summary


def mark_duplicates(rules: pa.Table, survivors: pa.Table) -> pa.Table:
    """Turns kept rows that the walk dropped into duplicates of the record that survived."""
    place = pc.index_in(rules.column("row"), value_set=survivors.column("row"))
    dropped = pc.is_valid(place)
    if not pc.all(pc.or_(pc.equal(rules.column("state"), "kept"), pc.invert(dropped))).as_py():
        raise CorpusError("the walk dropped a record that the rules had not kept")
    survivor = survivors.column("duplicate_of").take(place)
    names = [_reason(name) for name in survivor.to_pylist()]
    reasons = pa.array(names, rules.schema.field("reasons").type)
    replaced = {
        "state": pc.if_else(dropped, "duplicate", rules.column("state")),
        "duplicate_of": survivor,
        "reasons": pc.if_else(dropped, reasons, rules.column("reasons")),
    }
    for name, values in replaced.items():
        field = rules.schema.field(name)
        rules = rules.set_column(rules.schema.get_field_index(name), field, values.cast(field.type))
    return rules


def _reason(survivor: str | None) -> list[str]:
    """Of a duplicate: `duplicate`, with the name of the corpus if the other one is elsewhere."""
    corpus, found, _ = (survivor or "").partition(":")
    return [f"{DUPLICATE_REASON}:{corpus}" if found else DUPLICATE_REASON]


def walk_duplicates(
    corpus: Corpus,
    tables: Mapping[str, str],
    prefer: Sequence[str],
    prefer_tables: Sequence[str],
    root: str = ROOT,
) -> int:
    """Walks each component of pairs best first, and writes table `survivors`.

    The table has parts only of shards that lose a record.

    Args:
        corpus: The corpus.
        tables: Config hashes of `rules`, `dedup`, `selection` and the tables that the order reads.
        prefer: SQL order, best first.
        prefer_tables: Tables that the order reads.
        root: Where table `rules` lies and table `survivors` goes.

    Returns:
        How many records were dropped.
    """
    pairs = Table(corpus.store, "dedup", tables["dedup"])
    if not pairs.part_names():
        return 0
    connection = corpus.connection()
    rules = decision_table(corpus.store, "rules", tables, root).sql()

    def source(name: str) -> str:
        return parts_sql(corpus.store, Table(corpus.store, name, tables[name]).folder)

    edges = connection.sql(f"SELECT * FROM {source('dedup')}").to_arrow_table()
    joins = " ".join(
        f"JOIN {source(name)} t{i} USING (shard, row)" for i, name in enumerate(prefer_tables)
    )
    order = ", ".join([*prefer, "m.id"])
    members = connection.sql(
        f"""WITH m AS (SELECT shard, row, id FROM {source("dedup")}
              UNION SELECT other_shard, other_row, other_id FROM {source("dedup")}
              WHERE other_shard IS NOT NULL)
            SELECT m.shard, m.row, m.id FROM m
              JOIN {rules} j USING (shard, row) {joins}
            WHERE j.state = 'kept' ORDER BY {order}"""
    ).to_arrow_table()
    kept_for = walk(
        members["id"], np.ones(members.num_rows, bool), np.arange(members.num_rows), edges
    )
    dropped = members.append_column("duplicate_of", kept_for).filter(kept_for.is_valid())
    dropped = dropped.sort_by([("shard", "ascending"), ("row", "ascending")]).cast(SURVIVOR_SCHEMA)
    survivors = decision_table(corpus.store, "survivors", tables, root)
    numbers, starts = np.unique(dropped.column("shard").to_numpy(), return_index=True)
    bounds = [*starts.tolist(), dropped.num_rows]

    def write(i: int) -> None:
        mine = dropped.slice(bounds[i], bounds[i + 1] - bounds[i])
        survivors.append(int(numbers[i]), mine, {})

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(len(numbers))))
    return dropped.num_rows


def publish(corpus: Corpus, config_hash: str, content: Mapping[str, Any]) -> None:
    """Says that a selection is complete, with its sums."""
    name = f"tables/selection/{config_hash}/{PUBLISHED}"
    corpus.store.create(name, json.dumps(content, sort_keys=True, indent=1).encode())


def published(corpus: Corpus, config_hash: str) -> dict[str, Any] | None:
    """What was published about a selection; None if it is not complete."""
    try:
        content = corpus.store.read(f"tables/selection/{config_hash}/{PUBLISHED}")
    except FileNotFoundError:
        return None
    return dict(json.loads(content))


def _still_failed(table: Table, shard: int) -> pa.Table:
    failed = table.failed.read(shard, ["row", "reason"])
    if failed is None:
        return pa.table({"row": pa.array([], pa.int32()), "reason": pa.array([], pa.string())})
    covered = pa.array(table.covered(shard), pa.int32())
    return failed.filter(pc.invert(pc.is_in(failed.column("row"), covered)))


__all__ = ["DECISION_FIELDS", "LedgerTask", "RulesTask", "publish", "published", "walk_duplicates"]
