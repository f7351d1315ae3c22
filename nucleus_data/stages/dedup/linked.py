"""Finds the connected components of the pairs, by tasks on files: no process holds all pairs.

| phase | a task reads | and writes |
|---|---|---|
| links | the pairs of a piece: of some shards | `edges-0`: the pairs as edges, by both records |
| above-T, below-T | all edges of some records | `edges-T+1`: the same, nearer to stars (`stars`) |
| label | all edges of some records, now stars | `labels`: each record's component, by its piece |

A component is named by its first record, and its partition is a hash of that record. So a stage's
results about a component do not depend on the number of partitions. A finished task writes a
marker, so that a killed run can be continued. Only task numbers and counts go through Ray.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.dealing import collect, deal
from nucleus_data.corpus.exchanged import get
from nucleus_data.corpus.marked import once, remove_files
from nucleus_data.corpus.shuffle import Rows, read_rows, spread, write_rows
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import CROWDED_PAIRS_SCHEMA, Table
from nucleus_data.hashing import config_hash
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stages.dedup.partitioned import RunTasks
from nucleus_data.stages.dedup.stars import (
    FOREIGN,
    LINK,
    both_ways,
    centres,
    edges_of,
    joined_above,
    joined_below,
    links,
)

# A record's place, and that of the first record of its component.
LABEL = np.dtype([("place", "<i8"), ("first", "<i8")])
VERSION = 2  # version of the files


@dataclass(frozen=True)
class Cut:
    """How the pairs of a corpus are divided into tasks, and where the tasks' files are.

    Attributes:
        uri: Path or URL of the corpus.
        storage_options: Options for fsspec.
        table: Config hash of the table `dedup`.
        pieces: All shards, ascending, divided into pieces.
        parts: Number of partitions of the components.
        root: The folder of all files.
        foreign: Whether records of other corpora connect those of this one.
    """

    uri: str
    storage_options: Mapping[str, Any]
    table: str
    pieces: Sequence[Sequence[int]]
    parts: int
    root: str
    foreign: bool

    @cached_property
    def folder(self) -> str:
        """The folder of the files, named by a hash of what their content depends on."""
        pieces = [list(piece) for piece in self.pieces]
        how = config_hash({"version": VERSION, "parts": self.parts, "pieces": pieces})
        return f"{self.root}/{how}"

    def corpus(self) -> Corpus:
        """Opens the corpus."""
        return Corpus(self.uri, self.storage_options)

    def name(self, kind: str, number: int) -> str:
        """Returns the path of a task's file of a kind."""
        return f"{self.folder}/{kind}/{number:06d}"

    def names(self, store: Store, kind: str) -> list[str]:
        """Returns the paths of all files of a kind."""
        folder = f"{self.folder}/{kind}"
        return [f"{folder}/{name}" for name in store.list(folder)]

    def part_of(self, firsts: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Returns the partition of each component, given its first record."""
        return spread(firsts.astype(np.uint64), self.parts)

    def piece_of(self, shards: NDArray[np.integer]) -> NDArray[np.int64]:
        """Returns the piece of each shard."""
        numbers: NDArray[np.int64] = (
            np.searchsorted([piece[0] for piece in self.pieces], shards, side="right") - 1
        )
        return numbers

    def pairs(self, store: Store, piece: int) -> pa.Table:
        """Reads the pairs of a piece's shards, as `CROWDED_PAIRS_SCHEMA`."""
        pairs = Table(store, "dedup", self.table)
        parts = at_once(store, pairs.read, self.pieces[piece])
        tables = [part for part in parts if part is not None]
        none = CROWDED_PAIRS_SCHEMA.empty_table()
        return pa.concat_tables([none, *tables], promote_options="default")

    def labels(self, store: Store, piece: int) -> Rows:
        """Reads the labels of a piece's records in a pair, as `LABEL` rows ordered by place."""
        names = self.names(store, "labels")
        rows = read_rows(store, names, piece, len(self.pieces), LABEL)
        return rows[np.argsort(rows["place"])]

    def deal(self, store: Store, kind: str, part: int, rows: pa.Table) -> None:
        """Writes the result of a partition's task, dealt to the pieces of its shards."""
        reader = self.piece_of(rows["shard"].to_numpy())
        deal(store, self.name(kind, part), rows, reader, len(self.pieces))

    def collect(self, store: Store, kind: str, piece: int, schema: pa.Schema) -> pa.Table:
        """Reads the results of all partitions' tasks about a piece, ordered by shard and row."""
        rows = collect(store, self.names(store, kind), piece, len(self.pieces), schema)
        return rows.sort_by([("shard", "ascending"), ("row", "ascending")])

    def schema(self, store: Store, kind: str) -> pa.Schema | None:
        """Returns a schema that fits all files of a kind, which are empty tables; None if none."""
        tables = at_once(store, lambda name: get(store, name), self.names(store, kind))
        present = [table for table in tables if table is not None]
        return pa.concat_tables(present, promote_options="permissive").schema if present else None


def pieces_of(groups: Sequence[Sequence[int]], parts: int) -> list[list[int]]:
    """Joins groups of shards to pieces, about as many as there are partitions."""
    together = max(1, len(groups) // parts)
    return [
        [shard for group in groups[at : at + together] for shard in group]
        for at in range(0, len(groups), together)
    ]


@dataclass(frozen=True)
class CutTask:
    """A phase, each task of which runs once (a task of the runner); the method `name` does it.

    Attributes:
        cut: How the pairs are divided into tasks.
        name: The phase.
    """

    cut: Cut
    name: str

    @property
    def phase(self) -> str:
        """The phase's name in messages and markers."""
        return self.name

    def run(self, number: int) -> Summary:
        """Runs a task, unless it was done before; its counts are in the summary's `extra`."""
        corpus = self.cut.corpus()
        marker = f"{self.cut.folder}/done/{self.phase}/{number:06d}.json"
        counts = once(corpus.store, marker, lambda: getattr(self, self.name)(corpus, number))
        return Summary(done=1, extra=Counter(counts))


@dataclass(frozen=True)
class LinkTask(CutTask):
    """One of the phases above.

    Attributes:
        turn: The round of `above` and `below`; for `label` the last one.
    """

    turn: int = 0

    @property
    def phase(self) -> str:
        """The phase's name, with its round."""
        return f"{self.name}-{self.turn}" if self.name in ("above", "below") else self.name

    def links(self, corpus: Corpus, piece: int) -> dict[str, int]:
        """Deals the pairs of some shards by both of their records."""
        pairs = self.cut.pairs(corpus.store, piece)
        if not self.cut.foreign:
            pairs = pairs.filter(pairs["other_shard"].is_valid())
        self._write(corpus.store, "edges-0", piece, both_ways(edges_of(pairs)))
        return {}

    def above(self, corpus: Corpus, part: int) -> dict[str, int]:
        """Runs the large-star step, and counts the nodes that are not in a star yet."""
        edges, unsettled = joined_above(self._read(corpus.store, f"edges-{self.turn}", part))
        self._write(corpus.store, f"above-{self.turn}", part, edges)
        return {"unsettled": unsettled}

    def below(self, corpus: Corpus, part: int) -> dict[str, int]:
        """Runs the small-star step."""
        edges = joined_below(self._read(corpus.store, f"above-{self.turn}", part))
        self._write(corpus.store, f"edges-{self.turn + 1}", part, edges)
        return {}

    def label(self, corpus: Corpus, part: int) -> dict[str, int]:
        """Writes the component of each own record, named by the centre of its star."""
        nodes, first = centres(self._read(corpus.store, f"edges-{self.turn}", part))
        own = nodes < FOREIGN
        rows = np.empty(np.count_nonzero(own), LABEL)
        # The first record of a pair is an own one, and below foreign ones, so centres are own ones.
        rows["place"], rows["first"] = nodes[own], first[own]
        reader, pieces = self.cut.piece_of(rows["place"] >> 32), len(self.cut.pieces)
        write_rows(corpus.store, self.cut.name("labels", part), rows, reader, pieces)
        return {}

    def _read(self, store: Store, kind: str, part: int) -> Rows:
        rows = read_rows(store, self.cut.names(store, kind), part, self.cut.parts, LINK)
        return links(rows["node"], rows["other"])

    def _write(self, store: Store, kind: str, number: int, edges: Rows) -> None:
        reader = spread(np.ascontiguousarray(edges["node"]), self.cut.parts)
        write_rows(store, self.cut.name(kind, number), edges, reader, self.cut.parts)


def running(run_tasks: RunTasks) -> Callable[[CutTask, int], Counter[str] | None]:
    """Returns a function that runs a phase of a number of tasks.

    The function returns the tasks' counts, or None if tasks failed.

    Args:
        run_tasks: Runs tasks, given the phase's name, the task, the items, and their number.
    """

    def ran(task: CutTask, tasks: int) -> Counter[str] | None:
        report = run_tasks(task.phase, task, map(Item, range(tasks)), tasks)
        return None if report.failed else report.summary.extra

    return ran


def find_components(cut: Cut, run_tasks: RunTasks) -> bool:
    """Finds the components, and writes the label of each record in a pair.

    Args:
        cut: How the pairs are divided into tasks.
        run_tasks: Runs tasks, as in `running`.

    Returns:
        Whether all tasks succeeded.
    """
    store, ran, turn = cut.corpus().store, running(run_tasks), 0
    if ran(LinkTask(cut, "links"), len(cut.pieces)) is None:
        return False
    while True:
        counts = ran(LinkTask(cut, "above", turn), cut.parts)
        if counts is None:
            return False
        if not counts["unsettled"]:
            break
        remove_files(store, f"{cut.folder}/edges-{turn}")
        if ran(LinkTask(cut, "below", turn), cut.parts) is None:
            return False
        remove_files(store, f"{cut.folder}/above-{turn}")
        turn += 1
    if ran(LinkTask(cut, "label", turn), cut.parts) is None:
        return False
    # The input of the finished phase is not needed again.
    for folder in (f"edges-{turn}", f"above-{turn}"):
        remove_files(store, f"{cut.folder}/{folder}")
    return True
