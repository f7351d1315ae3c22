"""The walk over duplicates, which decides which of them stay; the corpus-wide part of `select`.

The walk needs the decisions about the records that are in a pair. So the rules are evaluated before
it, and the ledger is written after it. In between, the rules' answers are stored in a file of some
bits per record, because evaluating the rules again would mean reading all tables again.

`walk_duplicates` walks components of pairs in memory. If there are few pairs, it walks all of them,
in the command's process (`duplicates`); otherwise `partitioned` gives each task some components.
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
    """Evaluates the rules on a group of shards with records in a pair (a task of the runner)."""

    plan: SelectionPlan

    def run(self, number: int) -> Summary:
        """Writes the answers, and the records that are kept before the walk.

        The latter file is written last, and marks the group as done.

        Args:
            number: Any shard of the group.
        """
        group = group_of(number)
        with naming(self.plan, group):
            corpus = self.plan.corpus()
            store, exchanged = corpus.store, self.plan.exchanged
            # Done by an earlier run that was interrupted.
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
            # Without ids, which do not compress, and can be read from `records`.
            put(store, exchanged("answers", group), answers.drop_columns(["id"]))
            put(store, exchanged("kept", group), kept.filter(stays))
            return Summary()

    def _told(self, corpus: Corpus, group: int, members: pa.Table) -> pa.Table:
        """Returns where the records of a group that are in a pair come from, as `TOLD_SCHEMA`."""
        known = [self.plan.records(corpus, shard, READS) for shard in self.plan.group(group)]
        paired = [r.filter(pa.array(np.isin(places_of(r), places_of(members)))) for r in known]
        return pa.concat_tables([told_of(records) for records in paired])


@dataclass(frozen=True)
class Copies:
    """Complete connected components of pairs, and what is known about their records.

    Attributes:
        pairs: Rows of the table `dedup`.
        kept: The records that the rules keep, with the columns that the order of preference reads.
        told: Where the records come from, as `placeholders.TOLD_SCHEMA`; None if no file can be a
            placeholder.
    """

    pairs: pa.Table
    kept: pa.Table
    told: pa.Table | None


def walk_duplicates(
    plan: SelectionPlan, copies: Copies, threads: int = 1
) -> tuple[pa.Table, pa.Table]:
    """Walks components of pairs in the order of preference, best first.

    Args:
        plan: The plan of the selection.
        copies: The components. Records of other corpora are all kept.
        threads: Number of threads of the sort.

    Returns:
        The placeholders among the records, as `placeholders.FOUND_SCHEMA`, and the dropped records
        with their survivors, as `DROPPED_SCHEMA`. Both are sorted by shard and row.

    Raises:
        RequestError: The order of preference fails on a record.
    """
    kept, found = copies.kept, FOUND_SCHEMA.empty_table()
    if plan.placeholders is not None:
        assert copies.told is not None
        found = find_placeholders(copies.pairs, copies.told, plan.placeholders)
        # Placeholders are not kept, so no record may be dropped in favour of one.
        kept = kept.filter(pa.array(~np.isin(places_of(kept), places_of(found))))
    # The id comes last, so that equal records have an order, too, and the same one in every run.
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
    everyone = np.ones(count, bool)
    kept_for = walk(members["id"], everyone, np.arange(count), copies.pairs, plan.dedup)
    dropped = members.append_column("duplicate_of", kept_for).filter(kept_for.is_valid())
    return found, in_place_order(dropped).cast(DROPPED_SCHEMA)


def in_place_order(rows: pa.Table) -> pa.Table:
    """Sorts rows by shard and row."""
    return rows.sort_by([("shard", "ascending"), ("row", "ascending")])


def pairs_of(plan: SelectionPlan, store: Store) -> Table:
    """Returns the table of pairs."""
    return Table(store, PAIRS, plan.tables[PAIRS])


def members_of(pairs: pa.Table) -> pa.Table:
    """Returns shard and row of this corpus's records that are in a pair, each once, in order."""
    here = pairs.filter(pairs["other_shard"].is_valid())
    ends = [(pairs["shard"], pairs["row"]), (here["other_shard"], here["other_row"])]
    keys = [places_of(pa.table({"shard": shard, "row": row})) for shard, row in ends]
    return place_table(np.unique(np.concatenate(keys)))


def place_table(places: NDArray[np.int64]) -> pa.Table:
    """Converts places (see `places_of`) to a table of shard and row."""
    shards, rows = (places >> 32).astype(np.int32), (places & 0xFFFFFFFF).astype(np.int32)
    return pa.table({"shard": shards, "row": rows})


def read_groups(plan: SelectionPlan, corpus: Corpus, kind: str, groups: Iterable[int]) -> pa.Table:
    """Reads the files of one kind of some groups of shards; at least one of them must exist."""
    names = (plan.exchanged(kind, group) for group in groups)
    parts = list(at_once(corpus.store, lambda name: get(corpus.store, name), names))
    return pa.concat_tables([p for p in parts if p is not None], promote_options="permissive")


def write_groups(plan: SelectionPlan, corpus: Corpus, kind: str, rows: pa.Table) -> list[int]:
    """Writes rows to one file for each group of shards that has some.

    Args:
        plan: The plan of the selection.
        corpus: The corpus.
        kind: The kind of file.
        rows: Rows with a column `shard`, sorted by it.

    Returns:
        The groups that have rows.
    """
    numbers = group_of(rows.column("shard").to_numpy())
    groups, starts = np.unique(numbers, return_index=True)
    bounds = [*starts.tolist(), rows.num_rows]

    def write(i: int) -> None:
        # A copy, because a slice would be written with bytes of the next group.
        copied = rows.take(np.arange(bounds[i], bounds[i + 1]))
        put(corpus.store, plan.exchanged(kind, int(groups[i])), copied)

    list(at_once(corpus.store, write, range(len(groups))))
    return [int(group) for group in groups]
