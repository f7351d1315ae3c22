"""`select`, shard by shard: table `rules`, the duplicate walk, and table `selection` of both.

The walk is the one corpus-wide part. It reads only records that are in a pair, so its memory grows
with the duplicates.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.dedup.walk import walk
from nucleus_data.errors import CorpusError
from nucleus_data.runner.rows import Summary, sample_rows
from nucleus_data.select.decide import DECISION_FIELDS, DECISION_SCHEMA, count_states, decide
from nucleus_data.select.rules import Rule
from nucleus_data.tables import KEY_FIELDS, Table, parts_sql, table_schema

SURVIVOR_SCHEMA = pa.schema([*KEY_FIELDS, pa.field("duplicate_of", pa.string())])
DUPLICATE_REASON = "duplicate"
PUBLISHED = "_published.json"


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
    """

    uri: str
    storage_options: Mapping[str, Any]
    rules: Sequence[Rule]
    tables: Mapping[str, str]
    required: Sequence[str]
    sample: float = 1.0
    limits: Mapping[int, int] | None = None

    def run(self, number: int) -> Summary:
        """Decides about the records of a shard, before duplicates."""
        corpus = Corpus(self.uri, self.storage_options)
        target = Table(corpus.store, "rules", self.tables["rules"])
        records = corpus.records.read(number)
        if records is None:
            raise CorpusError(f"shard {number} has no records")
        records = sample_rows(records, self.sample)
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
            {name: table.read(number) for name, table in tables.items()},
            {name: _still_failed(table, number) for name, table in tables.items()},
            self.rules,
            self.required,
        )
        schema = table_schema(DECISION_SCHEMA, error=False)
        target.append(number, decided.cast(schema), {})
        summary.done = decided.num_rows
        return summary


@dataclass(frozen=True)
class LedgerTask:
    """Joins one shard's rules with the walk's outcome into the selection (a task of the runner)."""

    uri: str
    storage_options: Mapping[str, Any]
    tables: Mapping[str, str]

    def run(self, number: int) -> Summary:
        """Writes a shard's part of the selection."""
        corpus = Corpus(self.uri, self.storage_options)
        rules = Table(corpus.store, "rules", self.tables["rules"]).read(number)
        if rules is None:
            raise CorpusError(f"shard {number} has no rows in table rules")
        target = Table(corpus.store, "selection", self.tables["selection"])
        survivors = Table(corpus.store, "survivors", self.tables["selection"]).read(number)
        if survivors is not None:
            rules = mark_duplicates(rules, survivors)
        summary = Summary(rows=rules.num_rows)
        if rules.num_rows and len(target.covered(number)) == rules.num_rows:
            summary.already = rules.num_rows
        else:
            summary.done = target.append(number, rules, {})
        summary.extra = Counter(count_states(rules))
        for column in ("reasons", "flags", "nulls", "pending_on"):
            names = pc.list_flatten(rules.column(column)).to_pylist()
            summary.extra.update(f"{column}:{name}" for name in names)
        return summary


def mark_duplicates(rules: pa.Table, survivors: pa.Table) -> pa.Table:
    """Turns kept rows that the walk dropped into duplicates of the record that survived."""
    kept_for = dict(
        zip(
            survivors.column("row").to_pylist(),
            survivors.column("duplicate_of").to_pylist(),
            strict=True,
        )
    )
    rows = rules.column("row").to_pylist()
    dropped = [row in kept_for for row in rows]
    states = rules.column("state").to_pylist()
    if any(d and s != "kept" for d, s in zip(dropped, states, strict=True)):
        raise CorpusError("the walk dropped a record that the rules had not kept")
    replaced = {
        "state": [("duplicate" if d else s) for d, s in zip(dropped, states, strict=True)],
        "duplicate_of": [kept_for.get(row) for row in rows],
        "reasons": [
            [DUPLICATE_REASON] if d else r
            for d, r in zip(dropped, rules.column("reasons").to_pylist(), strict=True)
        ],
    }
    for name, values in replaced.items():
        field = rules.schema.field(name)
        rules = rules.set_column(
            rules.schema.get_field_index(name), field, pa.array(values, field.type)
        )
    return rules


def walk_duplicates(
    corpus: Corpus, tables: Mapping[str, str], prefer: Sequence[str], prefer_tables: Sequence[str]
) -> int:
    """Walks each component of pairs best first, and writes table `survivors`.

    The table has parts only of shards that lose a record.

    Args:
        corpus: The corpus.
        tables: Config hashes of `rules`, `dedup`, `selection` and the tables that the order reads.
        prefer: SQL order, best first.
        prefer_tables: Tables that the order reads.

    Returns:
        How many records were dropped.
    """
    pairs = Table(corpus.store, "dedup", tables["dedup"])
    if not pairs.part_names():
        return 0
    connection = corpus.connection()

    def source(name: str) -> str:
        return parts_sql(corpus.store, Table(corpus.store, name, tables[name]).folder)

    edges = connection.sql(f"SELECT * FROM {source('dedup')}").to_arrow_table()
    joins = " ".join(
        f"JOIN {source(name)} t{i} USING (shard, row)" for i, name in enumerate(prefer_tables)
    )
    order = ", ".join([*prefer, "m.id"])
    members = connection.sql(
        f"""WITH m AS (SELECT shard, row, id FROM {source("dedup")}
              UNION SELECT other_shard, other_row, other_id FROM {source("dedup")})
            SELECT m.shard, m.row, m.id FROM m
              JOIN {source("rules")} j USING (shard, row) {joins}
            WHERE j.state = 'kept' ORDER BY {order}"""
    ).to_arrow_table()
    kept_for = walk(
        members["id"], np.ones(members.num_rows, bool), np.arange(members.num_rows), edges
    )
    places = np.flatnonzero(kept_for >= 0)
    dropped = members.take(places).append_column(
        "duplicate_of", members["id"].take(kept_for[places])
    )
    survivors = Table(corpus.store, "survivors", tables["selection"])
    shards = dropped.column("shard").to_numpy()
    for shard in np.unique(shards):
        mine = dropped.filter(pa.array(shards == shard)).sort_by("row").cast(SURVIVOR_SCHEMA)
        survivors.append(int(shard), mine, {})
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
