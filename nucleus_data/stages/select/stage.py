"""`select`, some image shards at a time: who of the duplicates stays, then table `selection`.

The walk over the duplicates is the one corpus-wide part. It needs the decisions of those records
that are in a pair, so the rules are asked first, and the ledger is written when it is known who
stays. The answers wait in a file of some bits a record: to ask again would mean to read all tables
again. Memory grows with the duplicates.

What the passes hand to each other lies beside the table, in `_walk/`, a file for each group of
shards: `members` (records in a pair), `kept` (of these, with what the order of preference reads),
`answers` (of the rules; removed once the ledger is written) and `dropped` (with the survivor). The
files are the same however often they are written. The selection lies under `tables/`, or, of a
what-if, under its run.
"""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import (
    KEY_FIELDS,
    Table,
    missing_rows,
    parts_sql,
    table_schema,
)
from nucleus_data.errors import CorpusError, DiskFullError, RequestError
from nucleus_data.runner.loop import Item
from nucleus_data.runner.rows import Summary, sample_rows
from nucleus_data.stages.dedup.walk import walk
from nucleus_data.stages.select.decide import DECISION_SCHEMA, count_states, decide
from nucleus_data.stages.select.judge import KEYS, Shard, judge, values_of
from nucleus_data.stages.select.rules import Column, Rule
from nucleus_data.stages.select.tiers import Tiers

SELECTION_SCHEMA = table_schema(DECISION_SCHEMA, error=False)
DROPPED_SCHEMA = pa.schema([*KEY_FIELDS, pa.field("duplicate_of", pa.string())])
DUPLICATE_REASON = "duplicate"
PUBLISHED = "_published.json"
WALK = "_walk"
ROOT = "tables"
# Files of `_walk` are of so many shards: another number needs another `step.SELECT_VERSION`.
SHARDS_A_TASK = 16
THREADS = 8
RECORD_COLUMNS = ("shard", "row", "id", "error", "retryable")
LISTS = ("reasons", "flags", "nulls", "pending_on")


class Decisions(NamedTuple):
    """What a selection is made with.

    Attributes:
        rules: Checked rules.
        required: Tables without whose row a record is pending.
        prefer: The columns that the order of preference reads.
        tiers: The quality tiers; None for none.
    """

    rules: list[Rule]
    required: list[str]
    prefer: list[Column]
    tiers: Tiers | None = None

    @property
    def reads(self) -> list[str]:
        """All tables that are read, but for `records`."""
        scores = self.tiers.tables if self.tiers else ()
        return sorted({*self.required, *scores} - {"records"})


@dataclass(frozen=True)
class Plan:
    """What is decided, and about which records.

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        decisions: The rules and what they need.
        tables: Config hashes of the tables that are read, and of `selection`.
        shards: All image shards, ascending.
        failing: Tables with failures that may pass.
        sample: Share of the records to decide about.
        limits: Shard -> number of records, where fewer than all are asked for.
        root: Where the selection goes.
    """

    uri: str
    storage_options: Mapping[str, Any]
    decisions: Decisions
    tables: Mapping[str, str]
    shards: Sequence[int]
    failing: Sequence[str] = ()
    sample: float = 1.0
    limits: Mapping[int, int] | None = None
    root: str = ROOT

    def corpus(self) -> Corpus:
        """Opens the corpus."""
        return Corpus(self.uri, self.storage_options)

    def groups(self) -> list[int]:
        """Numbers of the groups of shards; a task decides about one."""
        return sorted({shard // SHARDS_A_TASK for shard in self.shards})

    def items(self, groups: Iterable[int]) -> list[Item]:
        """Groups for the runner, which knows them by their first shard."""
        return [Item(self.group(number)[0]) for number in groups]

    def group(self, number: int) -> list[int]:
        """The shards of a group."""
        first = bisect_left(self.shards, number * SHARDS_A_TASK)
        return list(self.shards[first : bisect_left(self.shards, (number + 1) * SHARDS_A_TASK)])

    def selection(self, store: Store) -> Table:
        """The table that is made."""
        return decision_table(store, self.tables["selection"], self.root)

    def exchanged(self, kind: str, group: int) -> str:
        """Path of a file that one pass leaves for the next."""
        return f"{self.root}/selection/{self.tables['selection']}/{WALK}/{kind}-{group:06d}.arrow"

    def records(self, corpus: Corpus, shard: int, columns: Sequence[str] = ()) -> pa.Table:
        """A shard's records that are decided about, with what rules read of them, if it has it."""
        # `Records.read` would refuse a column that no part of this shard has.
        columns = list(dict.fromkeys([*RECORD_COLUMNS, *columns, *self._columns("records")]))
        found = Table.read(corpus.records, shard, columns)
        if found is None:
            raise CorpusError(f"shard {shard} has no records")
        gone = corpus.records.superseded(shard)
        found = sample_rows(missing_rows(found, gone) if len(gone) else found, self.sample)
        return found if self.limits is None else found.slice(0, self.limits.get(shard, 0))

    def read(self, corpus: Corpus, shard: int, records: pa.Table) -> Shard:
        """What is known about some records of a shard."""
        tables, failed = {}, {}
        for name in self.decisions.reads:
            table = Table(corpus.store, name, self.tables[name])
            tables[name] = table.read(shard, ["row", "error", *self._columns(name)])
            if name in self.failing:
                failed[name] = _still_failed(table, shard)
        return Shard(records, tables, failed)

    def judge(self, shards: Sequence[Shard]) -> pa.Table:
        """What the rules answer about all records of some shards."""
        decisions = self.decisions
        return judge(shards, decisions.rules, decisions.required, decisions.tiers)

    def decide(self, answers: pa.Table) -> pa.Table:
        """The state of records of which this is known, before duplicates."""
        return decide(answers, self.decisions.rules, self.decisions.required)

    def _columns(self, table: str) -> list[str]:
        rules, _, columns, tiers = self.decisions
        columns = [*(c for rule in rules for c in rule.columns), *columns]
        columns += tiers.columns if tiers else ()
        return list(dict.fromkeys(c.name for c in columns if c.table == table))


@dataclass(frozen=True)
class JudgeTask:
    """Asks the rules about a group of shards that has records in a pair (a task of the runner)."""

    plan: Plan

    def run(self, number: int) -> Summary:
        """Writes the answers, and who is kept before the walk; `number` is any shard of the group.

        The latter is written last, and says that a group is done.
        """
        group = number // SHARDS_A_TASK
        with naming(self.plan, group):
            corpus = self.plan.corpus()
            store, exchanged = corpus.store, self.plan.exchanged
            if store.exists(exchanged("kept", group)):
                return Summary()
            members = get(store, exchanged("members", group))
            assert members is not None
            shards = [
                self.plan.read(corpus, shard, self.plan.records(corpus, shard))
                for shard in self.plan.group(group)
            ]
            answers = self.plan.judge(shards)
            values = pa.concat_tables(
                [values_of(shard, self.plan.decisions.prefer) for shard in shards],
                promote_options="permissive",
            )
            paired = pa.array(np.isin(_places(answers), _places(members)))
            asked = answers.filter(paired)
            stays = pc.equal(self.plan.decide(asked).column("state"), "kept")
            kept = asked.select(list(KEYS))
            for name in values.column_names:
                kept = kept.append_column(name, values.column(name).filter(paired))
            # Ids don't shrink, and are in `records`.
            put(store, exchanged("answers", group), answers.drop_columns(["id"]))
            put(store, exchanged("kept", group), kept.filter(stays))
            return Summary()


@dataclass(frozen=True)
class LedgerTask:
    """Decides about all records of a group of shards (a task of the runner)."""

    plan: Plan

    def run(self, number: int) -> Summary:
        """Writes the shards' parts of the selection; `number` is any shard of the group."""
        group = number // SHARDS_A_TASK
        with naming(self.plan, group):
            corpus = self.plan.corpus()
            target = self.plan.selection(corpus.store)
            chosen = {n: self.plan.records(corpus, n) for n in self.plan.group(group)}
            known = {n: target.read(n) for n in chosen}
            there = {
                n: table
                for n, table in known.items()
                if table is not None and table.num_rows == chosen[n].num_rows
            }
            missing = {n: records for n, records in chosen.items() if n not in there}
            summary = Summary(rows=sum(records.num_rows for records in chosen.values()))
            summary.already = sum(table.num_rows for table in there.values())
            made = decide_finally(self.plan, corpus, group, missing)
            for shard, table in made.items():
                # A shard that a limit or a sample leaves nothing of gets a part without rows.
                summary.done += target.append(shard, table, {})
            corpus.store.remove(self.plan.exchanged("answers", group))
            whole = pa.concat_tables([*there.values(), *made.values()])
            summary.extra = counts_of(whole)
            return summary


def decide_finally(
    plan: Plan, corpus: Corpus, group: int, records: Mapping[int, pa.Table]
) -> dict[int, pa.Table]:
    """The final state of every record of some shards.

    Args:
        plan: What is decided.
        corpus: The corpus.
        group: The group that the shards are of.
        records: Shard -> its records, from `Plan.records`.
    """
    if not records:
        return {}
    dropped = get(corpus.store, plan.exchanged("dropped", group))
    answers = get(corpus.store, plan.exchanged("answers", group))
    if answers is None:
        answers = plan.judge([plan.read(corpus, shard, mine) for shard, mine in records.items()])
    else:
        answers = _of_records(answers, records)
    decided = plan.decide(answers).cast(SELECTION_SCHEMA)
    found, start = {}, 0
    for shard, asked in records.items():
        table = decided.slice(start, asked.num_rows)
        start += asked.num_rows
        if dropped is not None:
            mine = dropped.filter(pc.equal(dropped.column("shard"), shard))
            table = mark_duplicates(table, mine) if mine.num_rows else table
        found[shard] = table
    return found


def _of_records(answers: pa.Table, records: Mapping[int, pa.Table]) -> pa.Table:
    """The answers about the records of some shards, with the ids that their file leaves out."""
    keys = pa.concat_tables([mine.select(list(KEYS)) for mine in records.values()])
    chosen = answers.filter(pc.is_in(answers.column("shard"), pa.array(list(records), pa.int32())))
    if not np.array_equal(_places(chosen), _places(keys)):
        raise CorpusError("the rules' answers are about other records than there are")
    return chosen.append_column("id", keys.column("id"))


def _places(table: pa.Table) -> np.ndarray:
    """One number for each shard and row, int64[N]."""
    shard, row = (table.column(name).to_numpy().astype(np.int64) for name in ("shard", "row"))
    places: np.ndarray = shard << 32 | row
    return places


def counts_of(selection: pa.Table) -> Counter[str]:
    """How many records are in each state, have each reason and so on, and are kept in each tier."""
    counts = Counter(count_states(selection))
    for column in LISTS:
        for item in pc.list_flatten(selection.column(column)).value_counts().to_pylist():
            counts[f"{column}:{item['values']}"] = item["counts"]
    kept = selection.column("tier").filter(pc.equal(selection.column("state"), "kept"))
    for item in kept.drop_null().value_counts().to_pylist():
        counts[f"tier:{item['values']}"] = item["counts"]
    return counts


def mark_duplicates(decided: pa.Table, dropped: pa.Table) -> pa.Table:
    """Turns kept rows that the walk dropped into duplicates of the record that survived."""
    place = pc.index_in(decided.column("row"), value_set=dropped.column("row"))
    lost = pc.is_valid(place)
    if not pc.all(pc.or_(pc.equal(decided.column("state"), "kept"), pc.invert(lost))).as_py():
        raise CorpusError("the walk dropped a record that the rules had not kept")
    survivor = dropped.column("duplicate_of").take(place)
    names = [_reason(name) for name in dropped.column("duplicate_of").to_pylist()]
    reasons = pa.array(names, decided.schema.field("reasons").type).take(place)
    replaced = {
        "state": pc.if_else(lost, "duplicate", decided.column("state")),
        "duplicate_of": survivor,
        "reasons": pc.if_else(lost, reasons, decided.column("reasons")),
    }
    for name, values in replaced.items():
        field = decided.schema.field(name)
        index = decided.schema.get_field_index(name)
        decided = decided.set_column(index, field, values.cast(field.type))
    return decided


def _reason(survivor: str) -> list[str]:
    """Of a duplicate: `duplicate`, with the name of the corpus if the other one is elsewhere."""
    corpus, found, _ = survivor.partition(":")
    return [f"{DUPLICATE_REASON}:{corpus}" if found else DUPLICATE_REASON]


def read_pairs(corpus: Corpus, config_hash: str) -> pa.Table | None:
    """All pairs that `dedup` found; None if there are none."""
    pairs = Table(corpus.store, "dedup", config_hash)
    if not pairs.part_names():
        return None
    source = parts_sql(corpus.store, pairs.folder)
    found: pa.Table = corpus.connection().sql(f"SELECT * FROM {source}").to_arrow_table()
    return found


def write_members(plan: Plan, corpus: Corpus, pairs: pa.Table) -> list[int]:
    """Says which records are in a pair; returns the groups of shards that have some."""
    here = pairs.filter(pairs["other_shard"].is_valid())
    ends = [(pairs["shard"], pairs["row"]), (here["other_shard"], here["other_row"])]
    keys = [_places(pa.table({"shard": shard, "row": row})) for shard, row in ends]
    places = np.unique(np.concatenate(keys))
    shards, rows = (places >> 32).astype(np.int32), (places & 0xFFFFFFFF).astype(np.int32)
    return _write_groups(plan, corpus, "members", pa.table({"shard": shards, "row": rows}))


def walk_duplicates(
    plan: Plan, corpus: Corpus, pairs: pa.Table, groups: Iterable[int], prefer: Sequence[str]
) -> int:
    """Walks each component of pairs best first, and says who is dropped, and for whom.

    Args:
        plan: What is decided; `JudgeTask` was run.
        corpus: The corpus.
        pairs: All pairs; those of other corpora's records are all kept.
        groups: The groups of shards with records in a pair.
        prefer: SQL order, best first.

    Returns:
        How many records were dropped.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        names = (plan.exchanged("kept", group) for group in groups)
        parts = list(pool.map(lambda name: get(corpus.store, name), names))
    kept = pa.concat_tables([p for p in parts if p is not None], promote_options="permissive")
    connection = corpus.connection()
    connection.register("kept_members", kept)
    order = ", ".join([*prefer, "id"])
    try:
        members = connection.sql(
            f"SELECT shard, row, id FROM kept_members ORDER BY {order}"
        ).to_arrow_table()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"select.prefer: {list(prefer)} fails on a record: {reason}") from None
    finally:
        connection.unregister("kept_members")
    count = members.num_rows
    kept_for = walk(members["id"], np.ones(count, bool), np.arange(count), pairs)
    dropped = members.append_column("duplicate_of", kept_for).filter(kept_for.is_valid())
    dropped = dropped.sort_by([("shard", "ascending"), ("row", "ascending")]).cast(DROPPED_SCHEMA)
    _write_groups(plan, corpus, "dropped", dropped)
    return dropped.num_rows


def _write_groups(plan: Plan, corpus: Corpus, kind: str, rows: pa.Table) -> list[int]:
    """Writes rows, sorted by shard, as one file for each group of shards that has some."""
    of = rows.column("shard").to_numpy() // SHARDS_A_TASK
    groups, starts = np.unique(of, return_index=True)
    bounds = [*starts.tolist(), rows.num_rows]

    def write(i: int) -> None:
        mine = rows.slice(bounds[i], bounds[i + 1] - bounds[i])
        put(corpus.store, plan.exchanged(kind, int(groups[i])), mine)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(write, range(len(groups))))
    return [int(group) for group in groups]


def put(store: Store, name: str, table: pa.Table) -> None:
    """Writes an Arrow file that is the same whoever writes it.

    Raises:
        CorpusError: It is there with other content.
    """
    sink = pa.BufferOutputStream()
    # Parquet would take seven times as long for the answers, and half as much space again.
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, table.schema, options=options) as file:
        file.write_table(table.combine_chunks())
    if not store.create(name, sink.getvalue().to_pybytes()):
        raise CorpusError(f"{name} is there with other content; remove its folder and try again")


def get(store: Store, name: str) -> pa.Table | None:
    """A file that `put` wrote; None if it is not there."""
    try:
        content = store.read(name)
    except FileNotFoundError:
        return None
    with pa.ipc.open_file(content) as file:
        found: pa.Table = file.read_all()
    return found


def decision_table(store: Store, config_hash: str, root: str = ROOT) -> Table:
    """Table `selection` under a root."""
    return Table(store, "selection", config_hash, folder=f"{root}/selection/{config_hash}")


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


@contextmanager
def naming(plan: Plan, group: int) -> Iterator[None]:
    """Says in an error's message which shards a task was about: the runner knows only the first."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        shards = plan.group(group)
        raise CorpusError(
            f"shards {shards[0]:06d} to {shards[-1]:06d}: {type(error).__name__}: {error}"
        ) from error


def _still_failed(table: Table, shard: int) -> pa.Table:
    failed = table.failed.read(shard, ["row", "reason"])
    if failed is None:
        return pa.table({"row": pa.array([], pa.int32()), "reason": pa.array([], pa.string())})
    return missing_rows(failed, table.covered(shard))
