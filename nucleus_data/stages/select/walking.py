"""The walk over the duplicates, the one corpus-wide part of `select`: who of them stays.

It needs the decisions of those records that are in a pair, so the rules are asked first, and the
ledger is written when it is known who stays. The answers wait in a file of some bits a record: to
ask again would mean to read all tables again. Memory grows with the duplicates.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.exchanged import get, put
from nucleus_data.corpus.states import KEPT
from nucleus_data.corpus.tables import KEY_FIELDS, Table, parts_sql
from nucleus_data.errors import RequestError
from nucleus_data.runner.work import Summary
from nucleus_data.stages.dedup.walk import walk
from nucleus_data.stages.select.database import sealed
from nucleus_data.stages.select.judge import KEYS, values_of
from nucleus_data.stages.select.placeholders import READS, find_placeholders, told_of
from nucleus_data.stages.select.plan import SelectionPlan, group_of, naming, places_of

DROPPED_SCHEMA = pa.schema([*KEY_FIELDS, pa.field("duplicate_of", pa.string())])
THREADS = 8


@dataclass(frozen=True)
class JudgeTask:
    """Asks the rules about a group of shards that has records in a pair (a task of the runner)."""

    plan: SelectionPlan

    def run(self, number: int) -> Summary:
        """Writes the answers, and who is kept before the walk; `number` is any shard of the group.

        The latter is written last, and says that a group is done.
        """
        group = group_of(number)
        with naming(self.plan, group):
            corpus = self.plan.corpus()
            store, exchanged = corpus.store, self.plan.exchanged
            # Asked before, by a run that was broken off.
            if store.exists(exchanged("kept", group)):
                return Summary()
            members = get(store, exchanged("members", group))
            assert members is not None
            shards = [
                self.plan.read(corpus, shard, self.plan.records(corpus, shard))
                for shard in self.plan.group(group)
            ]
            answers = self.plan.judge(shards)
            read = [column for order in self.plan.decisions.prefer for column in order.columns]
            values = pa.concat_tables(
                [values_of(shard, read) for shard in shards],
                promote_options="permissive",
            )
            paired = pa.array(np.isin(places_of(answers), places_of(members)))
            asked = answers.filter(paired)
            stays = pc.equal(self.plan.decide(asked).column("state"), KEPT)
            kept = asked.select(list(KEYS))
            for name in values.column_names:
                kept = kept.append_column(name, values.column(name).filter(paired))
            if self.plan.placeholders is not None:
                put(store, exchanged("told", group), self._told(corpus, group, members))
            # Ids don't shrink, and are in `records`.
            put(store, exchanged("answers", group), answers.drop_columns(["id"]))
            put(store, exchanged("kept", group), kept.filter(stays))
            return Summary()

    def _told(self, corpus: Corpus, group: int, members: pa.Table) -> pa.Table:
        """Where the records of a group that are in a pair come from."""
        known = [self.plan.records(corpus, shard, READS) for shard in self.plan.group(group)]
        paired = [r.filter(pa.array(np.isin(places_of(r), places_of(members)))) for r in known]
        return pa.concat_tables([told_of(records) for records in paired])


def read_pairs(corpus: Corpus, config_hash: str) -> pa.Table | None:
    """All pairs that `dedup` found; None if there are none."""
    pairs = Table(corpus.store, "dedup", config_hash)
    if not pairs.part_names():
        return None
    source = parts_sql(corpus.store, pairs.folder)
    found: pa.Table = corpus.connection().sql(f"SELECT * FROM {source}").to_arrow_table()
    return found


def write_members(plan: SelectionPlan, corpus: Corpus, pairs: pa.Table) -> list[int]:
    """Says which records are in a pair; returns the groups of shards that have some."""
    here = pairs.filter(pairs["other_shard"].is_valid())
    ends = [(pairs["shard"], pairs["row"]), (here["other_shard"], here["other_row"])]
    keys = [places_of(pa.table({"shard": shard, "row": row})) for shard, row in ends]
    places = np.unique(np.concatenate(keys))
    shards, rows = (places >> 32).astype(np.int32), (places & 0xFFFFFFFF).astype(np.int32)
    return _write_groups(plan, corpus, "members", pa.table({"shard": shards, "row": rows}))


def walk_duplicates(
    plan: SelectionPlan,
    corpus: Corpus,
    pairs: pa.Table,
    groups: Iterable[int],
) -> int:
    """Walks each component of pairs best first, and says who is dropped, and for whom.

    Args:
        plan: What is decided; `JudgeTask` was run.
        corpus: The corpus.
        pairs: All pairs; those of other corpora's records are all kept.
        groups: The groups of shards with records in a pair.

    Returns:
        How many records were dropped.
    """
    kept = _read_groups(plan, corpus, "kept", groups)
    if plan.placeholders is not None:
        told = _read_groups(plan, corpus, "told", groups)
        found = find_placeholders(pairs, told, plan.placeholders)
        _write_groups(plan, corpus, "placeholders", found)
        # Nothing is dropped for what is not kept.
        kept = kept.filter(pa.array(~np.isin(places_of(kept), places_of(found))))
    # The id comes last, so that equals have an order too, the same one in every run.
    order = ", ".join([*(order.sql for order in plan.decisions.prefer), "id"])
    connection = sealed(THREADS)
    connection.register("kept_members", kept)
    try:
        members = connection.sql(
            f"SELECT shard, row, id FROM kept_members ORDER BY {order}"
        ).to_arrow_table()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"select.prefer: {order!r} fails on a record: {reason}") from None
    count = members.num_rows
    kept_for = walk(members["id"], np.ones(count, bool), np.arange(count), pairs)
    dropped = members.append_column("duplicate_of", kept_for).filter(kept_for.is_valid())
    dropped = dropped.sort_by([("shard", "ascending"), ("row", "ascending")]).cast(DROPPED_SCHEMA)
    _write_groups(plan, corpus, "dropped", dropped)
    return dropped.num_rows


def _read_groups(plan: SelectionPlan, corpus: Corpus, kind: str, groups: Iterable[int]) -> pa.Table:
    """What the tasks about some groups of shards left."""
    names = (plan.exchanged(kind, group) for group in groups)
    parts = list(at_once(corpus.store, lambda name: get(corpus.store, name), names))
    return pa.concat_tables([p for p in parts if p is not None], promote_options="permissive")


def _write_groups(plan: SelectionPlan, corpus: Corpus, kind: str, rows: pa.Table) -> list[int]:
    """Writes rows, sorted by shard, as one file for each group of shards that has some."""
    numbers = group_of(rows.column("shard").to_numpy())
    groups, starts = np.unique(numbers, return_index=True)
    bounds = [*starts.tolist(), rows.num_rows]

    def write(i: int) -> None:
        mine = rows.slice(bounds[i], bounds[i + 1] - bounds[i])
        put(corpus.store, plan.exchanged(kind, int(groups[i])), mine)

    list(at_once(corpus.store, write, range(len(groups))))
    return [int(group) for group in groups]
