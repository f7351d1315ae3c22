"""Ranks more copies than a process can hold, by tasks on partitions of the groups of copies.

First, the groups of copies are found (`dedup.linked`): each record gets the label of its group.
Then come these phases, which exchange files:

| phase | a task reads | and writes |
|---|---|---|
| members | the labels of some shards, and their tables | `members`, by partition |
| order | a partition's members, in their order | `ordered`; in slices, `copies-*` for `RankTask` |
| (copies) | a slice, and the files of its records | `ranks-*` |
| rank | a partition's `ordered` and `ranks-*` | `ranked`, by shards |
| write | the results for some shards | their parts of the table |

A task holds the records of about a quarter of `dedup.partition_records` pairs, or decodes about
`COPIES_A_TASK` files, and more only if a single group has more.
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.dealing import collect, deal
from nucleus_data.corpus.exchanged import get, put
from nucleus_data.corpus.tables import Table
from nucleus_data.runner.work import Item
from nucleus_data.stages.compare.members import (
    FILE,
    TABLE,
    WORK,
    ComparePlan,
    grouped,
    known,
    read_all,
    write_by,
)
from nucleus_data.stages.compare.order import (
    SCHEMA,
    contenders,
    counts_of,
    failed_of,
    in_order,
    ranked,
    write_ranks,
)
from nucleus_data.stages.compare.ranking import RankTask
from nucleus_data.stages.dedup.linked import Cut, CutTask, find_components, pieces_of, running
from nucleus_data.stages.dedup.partitioned import RunTasks
from nucleus_data.stages.dedup.stage import TABLE as PAIRS

COPIES_A_TASK = 2000  # files per task, which take some minutes
# A record with its signals takes four times the memory that a pair takes.
SHARE = 4
KEYS = ("shard", "row", "copies", "id")
PHASES = ("members", "order", "rank", "write")


@dataclass(frozen=True)
class CopiesTask(CutTask):
    """A task of one of the phases above; each method is a phase.

    Attributes:
        plan: What is compared.
        slices: Number of slices that the copies of a partition are divided into.
    """

    plan: ComparePlan
    slices: int

    def members(self, corpus: Corpus, piece: int) -> dict[str, int]:
        """Reads what is known of some shards' records with a copy, and deals it to partitions."""
        cut, labels = self.cut, self.cut.labels(corpus.store, piece)
        if not len(labels):
            return {}
        rows = known(self.plan, corpus, grouped(labels["place"], labels["first"]))
        signals = [column for columns in self.plan.read.values() for column in columns]
        # All pieces need the same columns; one that no table of these shards has is null, untyped.
        for name in sorted({*signals} - {*rows.column_names}):
            rows = rows.append_column(name, pa.nulls(rows.num_rows))
        rows = rows.select([*KEYS, *FILE, *signals])
        reader = cut.part_of(rows["copies"].to_numpy())
        deal(corpus.store, cut.name("members", piece), rows, reader, cut.parts)
        put(corpus.store, cut.name("schemas", piece), rows.schema.empty_table())
        return {}

    def order(self, corpus: Corpus, part: int) -> dict[str, int]:
        """Orders the groups of a partition, and writes which copies are compared."""
        cut, store = self.cut, corpus.store
        schema = cut.schema(store, "schemas")
        if schema is None:
            return {}
        rows = collect(store, cut.names(store, "members"), part, cut.parts, schema)
        if not rows.num_rows:
            return {}
        measured = [field.name for field in schema if not pa.types.is_null(field.type)]
        members = in_order(rows.select(measured))
        chosen = contenders(members, self.plan.members)
        numbers = part * self.slices + _slices(chosen["copies"].to_numpy(), self.slices)
        write_by(self.plan, corpus, "copies", chosen, numbers)
        put(store, cut.name("ordered", part), members.select([*KEYS, "sha256"]))
        return counts_of(members, chosen)

    def rank(self, corpus: Corpus, part: int) -> dict[str, int]:
        """Writes the ranks of a partition's records, for the tasks that write their shards."""
        cut, store = self.cut, corpus.store
        members = get(store, cut.name("ordered", part))
        if members is None:
            return {}
        numbers = range(part * self.slices, (part + 1) * self.slices)
        ranks = read_all(self.plan, corpus, "ranks", numbers)
        cut.deal(store, "ranked", part, ranked(members, ranks, self.plan.members).cast(SCHEMA))
        return {"failed": failed_of(ranks)}

    def write(self, corpus: Corpus, piece: int) -> dict[str, int]:
        """Writes some shards' parts of the table."""
        rows = self.cut.collect(corpus.store, "ranked", piece, SCHEMA)
        write_ranks(Table(corpus.store, TABLE, self.plan.tables[TABLE]), rows)
        return {}


def rank_partitioned(
    plan: ComparePlan, pairs: int, most: int, run_tasks: RunTasks
) -> dict[str, int] | None:
    """Ranks the copies of all pictures, and writes the table.

    Args:
        plan: What is compared.
        pairs: Number of pairs.
        most: Most pairs that a process may hold; a task holds one `SHARE`-th of that.
        run_tasks: Runs tasks, given the phase's name, the task, the items, and their number.

    Returns:
        The counts; None if tasks failed.
    """
    held = -(-most // SHARE)
    parts, slices = -(-pairs // held), -(-held // COPIES_A_TASK)
    cut = cut_of(plan, parts, slices)
    plan = replace(plan, work=cut.folder)
    ran, counts = running(run_tasks), Counter[str]()
    if not find_components(cut, run_tasks):
        return None
    for name in PHASES:
        if name == "rank":
            total = parts * slices
            if run_tasks("copies", RankTask(plan), map(Item, range(total)), total).failed:
                return None
        tasks = len(cut.pieces) if name in ("members", "write") else parts
        phase_counts = ran(CopiesTask(cut, name, plan, slices), tasks)
        if phase_counts is None:
            return None
        counts.update(phase_counts)
    return dict(counts)


def cut_of(plan: ComparePlan, parts: int, slices: int) -> Cut:
    """Plans the partitioning of the compared pairs, and of the shards into pieces.

    Args:
        plan: What is compared.
        parts: Number of partitions.
        slices: Number of slices of each partition; it is in the path of files that depend on it.
    """
    return Cut(
        plan.uri,
        plan.storage_options,
        plan.tables[PAIRS],
        pieces_of([[shard] for shard in plan.shards], parts),
        parts,
        f"{plan.folder}/{WORK}/{slices}",
        foreign=False,
    )


def _slices(groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Assigns rows to slices of about equal size, without splitting a group.

    Args:
        groups: The group of each row, ascending, int64[N].
        count: Number of slices.

    Returns:
        The slice of each row, from 0, int64[N].
    """
    _, firsts, at = np.unique(groups, return_index=True, return_inverse=True)
    slices: NDArray[np.int64] = firsts[at] * count // max(1, len(groups))
    return slices
