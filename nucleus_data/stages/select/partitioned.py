"""Walks more pairs than one process can hold, by tasks on partitions of the components.

First, the connected components of the pairs are found (`dedup.linked`): each record gets the label
of its component. Then come these phases, which exchange files:

| phase | a task reads | and writes |
|---|---|---|
| members | the labels of some groups of shards | `_walk/members-*` |
| (judge) | a group's tables | `_walk/kept-*`, `_walk/told-*`, `_walk/answers-*` |
| deal | the pairs, labels, kept and told of some groups | the same, by partition |
| walk | a partition's pairs and records | `dropped` and `placeholders`, by group |
| tell | the results for some groups | `_walk/dropped-*`, `_walk/placeholders-*` |

A task holds about `dedup.partition_records` pairs, and more only if a single component has more.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.dealing import collect, deal
from nucleus_data.corpus.exchanged import put
from nucleus_data.corpus.tables import CROWDED_PAIRS_SCHEMA
from nucleus_data.stages.dedup.linked import Cut, CutTask, find_components, pieces_of, running
from nucleus_data.stages.dedup.partitioned import RunTasks
from nucleus_data.stages.dedup.rows import places_of
from nucleus_data.stages.dedup.stage import TABLE as PAIRS
from nucleus_data.stages.select.placeholders import FOUND_SCHEMA, TOLD_SCHEMA
from nucleus_data.stages.select.plan import SelectionPlan, group_of
from nucleus_data.stages.select.walking import (
    DROPPED_SCHEMA,
    Copies,
    JudgeTask,
    place_table,
    read_groups,
    walk_duplicates,
    write_groups,
)


def cut_of(selection: SelectionPlan, parts: int) -> Cut:
    """Plans the partitioning of a selection's pairs, with its groups of shards as the pieces."""
    groups = [selection.group(number) for number in selection.groups()]
    return Cut(
        selection.uri,
        selection.storage_options,
        selection.tables[PAIRS],
        pieces_of(groups, parts),
        parts,
        selection.partitions(),
        foreign=True,
    )


@dataclass(frozen=True)
class WalkTask(CutTask):
    """A task of one of the phases above; each method is a phase.

    Attributes:
        selection: The plan of the selection.
    """

    selection: SelectionPlan

    def members(self, corpus: Corpus, piece: int) -> dict[str, int]:
        """Writes which records of some groups are in a pair."""
        labels = self.cut.labels(corpus.store, piece)
        members = place_table(np.ascontiguousarray(labels["place"]))
        write_groups(self.selection, corpus, "members", members)
        return {}

    def deal(self, corpus: Corpus, piece: int) -> dict[str, int]:
        """Deals the pairs of some groups, and what is known about their records, to partitions."""
        cut, store = self.cut, corpus.store
        labels = cut.labels(store, piece)
        kinds = ["kept", *(["told"] if self.selection.placeholders is not None else [])]
        tables = {"pairs": cut.pairs(store, piece)}
        groups = [int(group) for group in np.unique(group_of(labels["place"] >> 32))]
        for kind in kinds if groups else ():
            tables[kind] = read_groups(self.selection, corpus, kind, groups)
        part = cut.part_of(labels["first"])
        for kind, rows in tables.items():
            at = np.searchsorted(labels["place"], places_of(rows))
            deal(store, cut.name(kind, piece), rows, part[at], cut.parts)
        if "kept" in tables:
            # Types of columns may differ between pieces, and a partition has rows of only a few.
            put(store, cut.name("schemas", piece), tables["kept"].schema.empty_table())
        return {}

    def walk(self, corpus: Corpus, part: int) -> dict[str, int]:
        """Walks the components of a partition."""
        cut, store = self.cut, corpus.store
        schema = cut.schema(store, "schemas")
        assert schema is not None
        schemas = {"pairs": CROWDED_PAIRS_SCHEMA, "kept": schema, "told": TOLD_SCHEMA}
        if self.selection.placeholders is None:
            del schemas["told"]
        copies = {
            kind: collect(store, cut.names(store, kind), part, cut.parts, schema)
            for kind, schema in schemas.items()
        }
        found, dropped = walk_duplicates(
            self.selection, Copies(copies["pairs"], copies["kept"], copies.get("told"))
        )
        cut.deal(store, "placeholders", part, found)
        cut.deal(store, "dropped", part, dropped)
        return {"dropped": dropped.num_rows}

    def tell(self, corpus: Corpus, piece: int) -> dict[str, int]:
        """Writes the walk's results by group of shards, for the ledger's tasks."""
        for kind, schema in (("placeholders", FOUND_SCHEMA), ("dropped", DROPPED_SCHEMA)):
            rows = self.cut.collect(corpus.store, kind, piece, schema)
            write_groups(self.selection, corpus, kind, rows)
        return {}


def walk_partitioned(selection: SelectionPlan, parts: int, run_tasks: RunTasks) -> int | None:
    """Walks all components, and writes which records are dropped and which are placeholders.

    Args:
        selection: The plan of the selection.
        parts: Number of partitions of the components.
        run_tasks: Runs tasks, given the phase's name, the task, the items, and their number.

    Returns:
        The number of dropped records; None if tasks failed.
    """
    cut, ran = cut_of(selection, parts), running(run_tasks)

    def done(name: str, tasks: int) -> Counter[str] | None:
        return ran(WalkTask(cut, name, selection), tasks)

    if not find_components(cut, run_tasks) or done("members", len(cut.pieces)) is None:
        return None
    groups = selection.left("members", cut.corpus().store)
    if run_tasks("", JudgeTask(selection), selection.items(groups), len(groups)).failed:
        return None
    if done("deal", len(cut.pieces)) is None:
        return None
    counts = done("walk", cut.parts)
    if counts is None or done("tell", len(cut.pieces)) is None:
        return None
    return counts["dropped"]
