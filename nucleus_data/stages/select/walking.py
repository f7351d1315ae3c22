"""The walk over the duplicates, the one corpus-wide part of `select`: who of them stays.

It needs the decisions of those records that are in a pair, so the rules are asked first, and the
ledger is written when it is known who stays. The answers wait in a file of some bits a record: to
ask again would mean to read all tables again.

`walk_duplicates` walks some components of pairs, in memory: all of them, where they are few, in
the command's process (`duplicates`); of more, `partitioned` gives each task some.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.exchanged import get, put
from nucleus_data.corpus.states import KEPT
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import KEY_FIELDS, Table
from nucleus_data.errors import RequestError
from nucleus_data.runner.work import Summary
from nucleus_data.stages.dedup.rows import places_of
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.dedup.walk import walk
from nucleus_data.stages.select.database import sealed
from nucleus_data.stages.select.judge import KEYS, values_of
from nucleus_data.stages.select.placeholders import (
    FOUND_SCHEMA,
    READS,
    find_placeholders,
    told_of,
)
from nucleus_data.stages.select.plan import SelectionPlan, group_of, naming

DROPPED_SCHEMA = pa.schema([*KEY_FIELDS, pa.field("duplicate_of", pa.string())])


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


@dataclass(frozen=True)
class Copies:
    """Components of pairs, each of them whole, and what the tasks said of their records.

    Attributes:
        pairs: The `dedup` table's rows.
        kept: The records that the rules keep, with what the order of preference reads.
        told: Where the records come from, as `placeholders.TOLD_SCHEMA`; None where no file can be
            a placeholder.
    """

    pairs: pa.Table
    kept: pa.Table
    told: pa.Table | None


def walk_duplicates(
    plan: SelectionPlan, copies: Copies, threads: int = 1
) -> tuple[pa.Table, pa.Table]:
    """Walks components of pairs best first.

    Args:
        plan: What is decided.
        copies: The components. Records of other corpora are all kept.
        threads: How many the sort may use.

    Returns:
        The placeholders among the records, as `placeholders.FOUND_SCHEMA`; and who is dropped and
        for whom, as `DROPPED_SCHEMA`. Both are sorted by shard and row.

    Raises:
        RequestError: The order of preference fails on a record.
    """
    kept, found = copies.kept, FOUND_SCHEMA.empty_table()
    if plan.placeholders is not None:
        assert copies.told is not None
        found = find_placeholders(copies.pairs, copies.told, plan.placeholders)
        # Nothing is dropped for what is not kept.
        kept = kept.filter(pa.array(~np.isin(places_of(kept), places_of(found))))
    # The id comes last, so that equals have an order too, the same one in every run.
    order = ", ".join([*(order.sql for order in plan.decisions.prefer), "id"])
    connection = sealed(threads)
    connection.register("kept_members", kept)
    try:
        members = connection.sql(
            f"SELECT shard, row, id FROM kept_members ORDER BY {order}"
        ).to_arrow_table()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"select.prefer: {order!r} fails on a record: {reason}") from None
    count = members.num_rows
    kept_for = walk(members["id"], np.ones(count, bool), np.arange(count), copies.pairs)
    dropped = members.append_column("duplicate_of", kept_for).filter(kept_for.is_valid())
    return found, in_place_order(dropped).cast(DROPPED_SCHEMA)


def in_place_order(rows: pa.Table) -> pa.Table:
    """Rows by shard and row."""
    return rows.sort_by([("shard", "ascending"), ("row", "ascending")])


def pairs_of(plan: SelectionPlan, store: Store) -> Table:
    """The table of pairs."""
    return Table(store, PAIRS, plan.tables[PAIRS])


def members_of(pairs: pa.Table) -> pa.Table:
    """Shard and row of the own records that are in a pair, each once, in their order."""
    here = pairs.filter(pairs["other_shard"].is_valid())
    ends = [(pairs["shard"], pairs["row"]), (here["other_shard"], here["other_row"])]
    keys = [places_of(pa.table({"shard": shard, "row": row})) for shard, row in ends]
    return place_table(np.unique(np.concatenate(keys)))


def place_table(places: NDArray[np.int64]) -> pa.Table:
    """Places (`places_of`) as shard and row."""
    shards, rows = (places >> 32).astype(np.int32), (places & 0xFFFFFFFF).astype(np.int32)
    return pa.table({"shard": shards, "row": rows})


def read_groups(plan: SelectionPlan, corpus: Corpus, kind: str, groups: Iterable[int]) -> pa.Table:
    """What the tasks about some groups of shards left; at least one of them left something."""
    names = (plan.exchanged(kind, group) for group in groups)
    parts = list(at_once(corpus.store, lambda name: get(corpus.store, name), names))
    return pa.concat_tables([p for p in parts if p is not None], promote_options="permissive")


def write_groups(plan: SelectionPlan, corpus: Corpus, kind: str, rows: pa.Table) -> list[int]:
    """Writes rows, sorted by shard, as one file for each group of shards that has some.

    Returns:
        The groups that have some.
    """
    numbers = group_of(rows.column("shard").to_numpy())
    groups, starts = np.unique(numbers, return_index=True)
    bounds = [*starts.tolist(), rows.num_rows]

    def write(i: int) -> None:
        # A copy: of a slice, bytes of the next group would be written, too.
        mine = rows.take(np.arange(bounds[i], bounds[i + 1]))
        put(corpus.store, plan.exchanged(kind, int(groups[i])), mine)

    list(at_once(corpus.store, write, range(len(groups))))
    return [int(group) for group in groups]
