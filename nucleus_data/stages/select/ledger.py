"""Writes the ledger, the table `selection`: every record's final state, by groups of shards."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.exchanged import get
from nucleus_data.corpus.states import DUPLICATE, KEPT
from nucleus_data.corpus.tables import table_schema
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Summary
from nucleus_data.stages.dedup.rows import places_of
from nucleus_data.stages.select.curriculum import COLUMN, FIELD
from nucleus_data.stages.select.decide import DECISION_SCHEMA, count_states
from nucleus_data.stages.select.judge import KEYS
from nucleus_data.stages.select.placeholders import reject_placeholders
from nucleus_data.stages.select.plan import SelectionPlan, group_of, naming

SELECTION_SCHEMA = table_schema(DECISION_SCHEMA, error=False)
CURRICULUM_SCHEMA = SELECTION_SCHEMA.append(FIELD)
DUPLICATE_REASON = "duplicate"
NONE = "none"  # in counts, the bucket of records without one
LISTS = ("reasons", "flags", "nulls", "pending_on")


@dataclass(frozen=True)
class LedgerTask:
    """Decides about all records of a group of shards (a task of the runner)."""

    plan: SelectionPlan

    def run(self, number: int) -> Summary:
        """Writes the shards' parts of the selection; `number` is any shard of the group."""
        group = group_of(number)
        with naming(self.plan, group):
            corpus = self.plan.corpus()
            target = self.plan.selection(corpus.store)
            chosen = {n: self.plan.records(corpus, n) for n in self.plan.group(group)}
            known = {n: target.read(n) for n in chosen}
            complete = {
                n: table
                for n, table in known.items()
                if table is not None and table.num_rows == chosen[n].num_rows
            }
            missing = {n: records for n, records in chosen.items() if n not in complete}
            summary = Summary(rows=sum(records.num_rows for records in chosen.values()))
            summary.already = sum(table.num_rows for table in complete.values())
            made = decide_finally(self.plan, corpus, group, missing)
            for shard, table in made.items():
                # If a limit or a sample leaves no record of a shard, it gets a part without rows.
                summary.done += target.append(shard, table, {})
            # Not earlier: if this task is killed, its repetition needs the answers.
            corpus.store.remove(self.plan.exchanged("answers", group))
            whole = pa.concat_tables([*complete.values(), *made.values()])
            summary.extra = counts_of(whole)
            return summary


def decide_finally(
    plan: SelectionPlan, corpus: Corpus, group: int, records: Mapping[int, pa.Table]
) -> dict[int, pa.Table]:
    """Decides the final state of every record of some shards.

    Args:
        plan: The plan of the selection.
        corpus: The corpus.
        group: The group that the shards belong to.
        records: Shard -> its records, from `SelectionPlan.records`.

    Returns:
        Shard -> its rows of the selection.

    Raises:
        CorpusError: The answers are about other records, or the walk dropped a record that the
            rules had not kept.
        RequestError: A rule fails on a record.
    """
    if not records:
        return {}
    dropped = get(corpus.store, plan.exchanged("dropped", group))
    placeholders = get(corpus.store, plan.exchanged("placeholders", group))
    answers = get(corpus.store, plan.exchanged("answers", group))
    # Without answers, no record of the group is in a pair: the rules are evaluated only now.
    if answers is None:
        answers = plan.judge([plan.read(corpus, shard, rows) for shard, rows in records.items()])
    else:
        answers = _of_records(answers, records)
    schema = SELECTION_SCHEMA if plan.decisions.curriculum is None else CURRICULUM_SCHEMA
    decided = plan.decide(answers).cast(schema)
    final, start = {}, 0
    for shard, asked in records.items():
        table = decided.slice(start, asked.num_rows)
        start += asked.num_rows
        if placeholders is not None:
            rows = placeholders.filter(pc.equal(placeholders.column("shard"), shard))
            assert plan.placeholders is not None  # such files are only written with these settings
            table = reject_placeholders(table, rows, plan.placeholders) if rows.num_rows else table
        if dropped is not None:
            rows = dropped.filter(pc.equal(dropped.column("shard"), shard))
            table = mark_duplicates(table, rows) if rows.num_rows else table
        final[shard] = table
    return final


def _of_records(answers: pa.Table, records: Mapping[int, pa.Table]) -> pa.Table:
    """Returns the answers about the records of some shards, with the ids that the file lacks."""
    keys = pa.concat_tables([rows.select(list(KEYS)) for rows in records.values()])
    chosen = answers.filter(pc.is_in(answers.column("shard"), pa.array(list(records), pa.int32())))
    if not np.array_equal(places_of(chosen), places_of(keys)):
        raise CorpusError("the rules' answers do not match the records of the corpus")
    return chosen.append_column("id", keys.column("id"))


def counts_of(selection: pa.Table) -> Counter[str]:
    """Counts records by state, by reason, and by flag, NULL and pending table.

    Kept records are also counted by tier and, with a curriculum, by bucket.

    Returns:
        State, or `KIND:NAME` -> number of records.
    """
    counts = Counter(count_states(selection))
    for column in LISTS:
        for item in pc.list_flatten(selection.column(column)).value_counts().to_pylist():
            counts[f"{column}:{item['values']}"] = item["counts"]
    kept = selection.filter(pc.equal(selection.column("state"), KEPT))
    for item in kept.column("tier").drop_null().value_counts().to_pylist():
        counts[f"tier:{item['values']}"] = item["counts"]
    if COLUMN in kept.column_names:
        for item in pc.fill_null(kept.column(COLUMN), NONE).value_counts().to_pylist():
            counts[f"{COLUMN}:{item['values']}"] = item["counts"]
    return counts


def mark_duplicates(decided: pa.Table, dropped: pa.Table) -> pa.Table:
    """Marks the kept records that the walk dropped as duplicates of their survivors.

    Args:
        decided: Decisions about the records of one shard.
        dropped: The rows of that shard that the walk dropped, with `duplicate_of`.

    Raises:
        CorpusError: A dropped record was not kept.
    """
    place = pc.index_in(decided.column("row"), value_set=dropped.column("row"))
    lost = pc.is_valid(place)
    if not pc.all(pc.or_(pc.equal(decided.column("state"), KEPT), pc.invert(lost))).as_py():
        raise CorpusError("the walk dropped a record that the rules had not kept")
    survivor = dropped.column("duplicate_of").take(place)
    names = [_reason(name) for name in dropped.column("duplicate_of").to_pylist()]
    reasons = pa.array(names, decided.schema.field("reasons").type).take(place)
    replaced = {
        "state": pc.if_else(lost, DUPLICATE, decided.column("state")),
        "duplicate_of": survivor,
        "reasons": pc.if_else(lost, reasons, decided.column("reasons")),
    }
    for name, values in replaced.items():
        field = decided.schema.field(name)
        index = decided.schema.get_field_index(name)
        decided = decided.set_column(index, field, values.cast(field.type))
    return decided


def _reason(survivor: str) -> list[str]:
    """Returns a duplicate's reason: `duplicate`, and the corpus if the survivor is in another."""
    corpus, colon, _ = survivor.partition(":")
    return [f"{DUPLICATE_REASON}:{corpus}" if colon else DUPLICATE_REASON]
