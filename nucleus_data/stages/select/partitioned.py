"""The walk over more pairs than a process holds: components of pairs, dealt to tasks on files.

| phase | a task reads | and writes |
|---|---|---|
| links | the pairs of some groups of shards | `edges-0`: who is in a pair with whom, by both |
| above-T, below-T | all edges of some records | `edges-T+1`: the same, nearer to stars (`stars`) |
| label | all edges of some records, now stars | `labels`: each record's partition, by its group |
| members | the labels of some groups | `_walk/members-*` |
| (judge) | a group's tables | `_walk/kept-*`, `_walk/told-*`, `_walk/answers-*` |
| deal | the pairs, labels, kept and told of some groups | the same, by partition |
| walk | a partition's pairs and records | `dropped` and `placeholders`, by group |
| tell | what was found of some groups | `_walk/dropped-*`, `_walk/placeholders-*` |

A component is named by its first record, and its partition is a hash of that; so what is found does
not depend on how many partitions there are. A finished task leaves a marker; a run that was killed
goes on where it was. Nothing but task numbers and counts goes through Ray, and a task holds about
`dedup.partition_records` pairs; more only where more records than that hang together.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.dealing import collect, deal
from nucleus_data.corpus.exchanged import get, put
from nucleus_data.corpus.marked import once, remove_files
from nucleus_data.corpus.shuffle import Rows, read_rows, spread, write_rows
from nucleus_data.corpus.tables import PAIRS_SCHEMA
from nucleus_data.hashing import config_hash
from nucleus_data.runner.work import Item, StageReport, Summary
from nucleus_data.stages.select.placeholders import FOUND_SCHEMA, TOLD_SCHEMA
from nucleus_data.stages.select.plan import SelectionPlan, group_of, places_of
from nucleus_data.stages.select.stars import (
    FOREIGN,
    LINK,
    both_ways,
    centres,
    edges_of,
    joined_above,
    joined_below,
    links,
)
from nucleus_data.stages.select.walking import (
    DROPPED_SCHEMA,
    Copies,
    JudgeTask,
    in_place_order,
    pairs_of,
    place_table,
    read_groups,
    walk_duplicates,
    write_groups,
)

RunTasks = Callable[[str, Any, Iterable[Item], int], StageReport]

LABEL = np.dtype([("place", "<i8"), ("part", "<u2")])


@dataclass(frozen=True)
class WalkPlan:
    """How a walk is cut into tasks.

    Attributes:
        selection: What is decided.
        pieces: Groups of shards, cut into pieces.
        parts: How many partitions the components are spread over.
    """

    selection: SelectionPlan
    pieces: Sequence[Sequence[int]]
    parts: int

    @classmethod
    def made(cls, selection: SelectionPlan, parts: int) -> "WalkPlan":
        """A plan with so many partitions, and about as many pieces."""
        groups = selection.groups()
        together = max(1, len(groups) // parts)
        pieces = [groups[at : at + together] for at in range(0, len(groups), together)]
        return cls(selection, pieces, parts)

    @property
    def folder(self) -> str:
        """Where the files are, by all that decides about their content."""
        how = config_hash({"parts": self.parts, "pieces": [list(piece) for piece in self.pieces]})
        return f"{self.selection.partitions()}/{how}"

    def shards(self, piece: int) -> list[int]:
        """The shards of a piece."""
        return [shard for group in self.pieces[piece] for shard in self.selection.group(group)]

    def piece_of(self, shards: NDArray[np.integer]) -> NDArray[np.int64]:
        """The piece of each shard."""
        firsts = [piece[0] for piece in self.pieces]
        found: NDArray[np.int64] = np.searchsorted(firsts, group_of(shards), side="right") - 1
        return found


@dataclass(frozen=True)
class Phase:
    """One phase (a task of the runner).

    Attributes:
        plan: How the walk is cut into tasks.
        name: The phase, as in the table above.
        turn: The turn of `above` and `below`; of `label` the last one.
    """

    plan: WalkPlan
    name: str
    turn: int = 0

    @property
    def label(self) -> str:
        """The phase's name, with its turn."""
        return f"{self.name}-{self.turn}" if self.name in ("above", "below") else self.name

    def run(self, number: int) -> Summary:
        """Does a task, unless it was done; its counts are in the summary's `extra`."""
        corpus = self.plan.selection.corpus()
        marker = f"{self.plan.folder}/done/{self.label}/{number:06d}.json"
        work = _Work(self, corpus)
        counts = once(corpus.store, marker, lambda: getattr(work, self.name)(number))
        return Summary(done=1, extra=Counter(counts))


class _Work:
    """What the tasks of each phase do; each returns counts."""

    def __init__(self, phase: Phase, corpus: Corpus) -> None:
        self.plan, self.parts, self.turn = phase.plan, phase.plan.parts, phase.turn
        self.selection, self.corpus, self.store = phase.plan.selection, corpus, corpus.store

    def links(self, piece: int) -> dict[str, int]:
        """Deals the pairs of some shards by both of their records."""
        pairs = self._read_pairs(piece)
        self._write_edges("edges-0", piece, both_ways(edges_of(pairs)))
        return {}

    def above(self, part: int) -> dict[str, int]:
        """The step of large stars; counts who is not yet in a star."""
        edges, unsettled = joined_above(self._edges(f"edges-{self.turn}", part))
        self._write_edges(f"above-{self.turn}", part, edges)
        return {"unsettled": unsettled}

    def below(self, part: int) -> dict[str, int]:
        """The step of small stars."""
        edges = joined_below(self._edges(f"above-{self.turn}", part))
        self._write_edges(f"edges-{self.turn + 1}", part, edges)
        return {}

    def label(self, part: int) -> dict[str, int]:
        """Names the partition of each own record: that of its star's centre."""
        nodes, mid = centres(self._edges(f"edges-{self.turn}", part))
        own = nodes < FOREIGN
        rows = np.empty(np.count_nonzero(own), LABEL)
        rows["place"], rows["part"] = nodes[own], spread(mid[own], self.parts)
        reader = self.plan.piece_of(rows["place"] >> 32)
        write_rows(self.store, self._name("labels", part), rows, reader, len(self.plan.pieces))
        return {}

    def members(self, piece: int) -> dict[str, int]:
        """Says which records of some groups are in a pair."""
        members = place_table(np.ascontiguousarray(self._labels(piece)["place"]))
        write_groups(self.selection, self.corpus, "members", members)
        return {}

    def deal(self, piece: int) -> dict[str, int]:
        """Deals what is known of some groups' pairs by partition."""
        labels = self._labels(piece)
        kinds = ["kept", *(["told"] if self.selection.placeholders is not None else [])]
        found = {"pairs": self._read_pairs(piece)}
        groups = [int(group) for group in np.unique(group_of(labels["place"] >> 32))]
        for kind in kinds if groups else ():
            found[kind] = read_groups(self.selection, self.corpus, kind, groups)
        for kind, rows in found.items():
            at = np.searchsorted(labels["place"], places_of(rows))
            deal(self.store, self._name(kind, piece), rows, labels["part"][at], self.parts)
        if "kept" in found:
            # The columns' types may differ from piece to piece, and a part has few of the pieces.
            put(self.store, self._name("schemas", piece), found["kept"].schema.empty_table())
        return {}

    def walk(self, part: int) -> dict[str, int]:
        """Walks the components of a partition."""
        schemas = at_once(self.store, lambda name: get(self.store, name), self._names("schemas"))
        kept = pa.concat_tables([s for s in schemas if s is not None], promote_options="permissive")
        told = None
        if self.selection.placeholders is not None:
            told = self._collect("told", part, TOLD_SCHEMA)
        pairs = self._collect("pairs", part, PAIRS_SCHEMA)
        copies = Copies(pairs, self._collect("kept", part, kept.schema), told)
        found, dropped = walk_duplicates(self.selection, copies)
        for kind, rows in (("placeholders", found), ("dropped", dropped)):
            reader = self.plan.piece_of(rows["shard"].to_numpy())
            deal(self.store, self._name(kind, part), rows, reader, len(self.plan.pieces))
        return {"dropped": dropped.num_rows}

    def tell(self, piece: int) -> dict[str, int]:
        """Writes what the walk found for the ledger's tasks."""
        for kind, schema in (("placeholders", FOUND_SCHEMA), ("dropped", DROPPED_SCHEMA)):
            rows = collect(self.store, self._names(kind), piece, len(self.plan.pieces), schema)
            write_groups(self.selection, self.corpus, kind, in_place_order(rows))
        return {}

    def _read_pairs(self, piece: int) -> pa.Table:
        pairs = pairs_of(self.selection, self.store)
        parts = at_once(self.store, pairs.read, self.plan.shards(piece))
        return pa.concat_tables(
            [PAIRS_SCHEMA.empty_table(), *(part for part in parts if part is not None)]
        )

    def _collect(self, kind: str, part: int, schema: pa.Schema) -> pa.Table:
        return collect(self.store, self._names(kind), part, self.parts, schema)

    def _labels(self, piece: int) -> Rows:
        rows = read_rows(self.store, self._names("labels"), piece, len(self.plan.pieces), LABEL)
        return rows[np.argsort(rows["place"])]

    def _edges(self, folder: str, part: int) -> Rows:
        rows = read_rows(self.store, self._names(folder), part, self.parts, LINK)
        return links(rows["node"], rows["other"])

    def _write_edges(self, folder: str, number: int, edges: Rows) -> None:
        reader = spread(np.ascontiguousarray(edges["node"]), self.parts)
        write_rows(self.store, self._name(folder, number), edges, reader, self.parts)

    def _name(self, folder: str, number: int) -> str:
        return f"{self.plan.folder}/{folder}/{number:06d}"

    def _names(self, folder: str) -> list[str]:
        folder = f"{self.plan.folder}/{folder}"
        return [f"{folder}/{name}" for name in self.store.list(folder)]


def walk_partitioned(plan: WalkPlan, run_tasks: RunTasks) -> int | None:
    """Walks all components, and writes who is dropped and who is a placeholder.

    Args:
        plan: How the walk is cut into tasks.
        run_tasks: Runs tasks: the phase's name, the task, numbered items, and how many they are.

    Returns:
        How many records are dropped; None if tasks failed.
    """
    selection = plan.selection
    store = selection.corpus().store

    def done(name: str, tasks: int, turn: int = 0) -> Counter[str] | None:
        phase = Phase(plan, name, turn)
        report = run_tasks(phase.label, phase, map(Item, range(tasks)), tasks)
        return None if report.failed else report.summary.extra

    if done("links", len(plan.pieces)) is None:
        return None
    turn = 0
    while True:
        counts = done("above", plan.parts, turn)
        if counts is None:
            return None
        if not counts["unsettled"]:
            break
        remove_files(store, f"{plan.folder}/edges-{turn}")
        if done("below", plan.parts, turn) is None:
            return None
        remove_files(store, f"{plan.folder}/above-{turn}")
        turn += 1
    if done("label", plan.parts, turn) is None or done("members", len(plan.pieces)) is None:
        return None
    for folder in (f"edges-{turn}", f"above-{turn}"):
        remove_files(store, f"{plan.folder}/{folder}")
    groups = selection.left("members", store)
    if run_tasks("", JudgeTask(selection), selection.items(groups), len(groups)).failed:
        return None
    if done("deal", len(plan.pieces)) is None:
        return None
    counts = done("walk", plan.parts)
    if counts is None or done("tell", len(plan.pieces)) is None:
        return None
    return counts["dropped"]
