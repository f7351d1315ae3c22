"""Which records hang together by pairs, found by tasks on files: no process holds all pairs.

| phase | a task reads | and writes |
|---|---|---|
| links | the pairs of a piece: of some shards | `edges-0`: who is in a pair with whom, by both |
| above-T, below-T | all edges of some records | `edges-T+1`: the same, nearer to stars (`stars`) |
| label | all edges of some records, now stars | `labels`: each record's component, by its piece |

A component is named by its first record, and its partition is a hash of that; so what a stage finds
about it does not depend on how many partitions there are. A finished task leaves a marker, so a run
that was killed goes on where it was. Nothing but task numbers and counts goes through Ray.
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
from nucleus_data.corpus.tables import PAIRS_SCHEMA, Table
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
VERSION = 2  # of the files


@dataclass(frozen=True)
class Cut:
    """How the pairs of a corpus are cut into tasks, and where the tasks' files are.

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        table: Config hash of the table `dedup`.
        pieces: All shards, ascending, in pieces.
        parts: How many partitions the components are spread over.
        root: The folder of all files.
        foreign: Whether records of other corpora join those of this one.
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
        """Where the files are, by all that decides about their content."""
        pieces = [list(piece) for piece in self.pieces]
        how = config_hash({"version": VERSION, "parts": self.parts, "pieces": pieces})
        return f"{self.root}/{how}"

    def corpus(self) -> Corpus:
        """Opens the corpus."""
        return Corpus(self.uri, self.storage_options)

    def name(self, kind: str, number: int) -> str:
        """Path of the file of a kind that a task writes."""
        return f"{self.folder}/{kind}/{number:06d}"

    def names(self, store: Store, kind: str) -> list[str]:
        """Paths of all files of a kind."""
        folder = f"{self.folder}/{kind}"
        return [f"{folder}/{name}" for name in store.list(folder)]

    def part_of(self, firsts: NDArray[np.int64]) -> NDArray[np.uint16]:
        """The partition of each component, by its first record."""
        return spread(firsts.astype(np.uint64), self.parts)

    def piece_of(self, shards: NDArray[np.integer]) -> NDArray[np.int64]:
        """The piece of each shard."""
        found: NDArray[np.int64] = (
            np.searchsorted([piece[0] for piece in self.pieces], shards, side="right") - 1
        )
        return found

    def pairs(self, store: Store, piece: int) -> pa.Table:
        """The pairs of a piece's shards."""
        pairs = Table(store, "dedup", self.table)
        parts = at_once(store, pairs.read, self.pieces[piece])
        there = [part for part in parts if part is not None]
        return pa.concat_tables([PAIRS_SCHEMA.empty_table(), *there])

    def labels(self, store: Store, piece: int) -> Rows:
        """The records in a pair of a piece, by place, as `LABEL`."""
        names = self.names(store, "labels")
        rows = read_rows(store, names, piece, len(self.pieces), LABEL)
        return rows[np.argsort(rows["place"])]

    def deal(self, store: Store, kind: str, part: int, rows: pa.Table) -> None:
        """Writes what a partition's task found, for the pieces that it is about, by shard."""
        reader = self.piece_of(rows["shard"].to_numpy())
        deal(store, self.name(kind, part), rows, reader, len(self.pieces))

    def collect(self, store: Store, kind: str, piece: int, schema: pa.Schema) -> pa.Table:
        """What the partitions' tasks found about a piece, by shard and row."""
        rows = collect(store, self.names(store, kind), piece, len(self.pieces), schema)
        return rows.sort_by([("shard", "ascending"), ("row", "ascending")])

    def schema(self, store: Store, kind: str) -> pa.Schema | None:
        """What fits the rows of all files of a kind, each of which is an empty table."""
        tables = at_once(store, lambda name: get(store, name), self.names(store, kind))
        there = [table for table in tables if table is not None]
        return pa.concat_tables(there, promote_options="permissive").schema if there else None


def pieces_of(groups: Sequence[Sequence[int]], parts: int) -> list[list[int]]:
    """Groups of shards, put together to about as many pieces as there are partitions."""
    together = max(1, len(groups) // parts)
    return [
        [shard for group in groups[at : at + together] for shard in group]
        for at in range(0, len(groups), together)
    ]


@dataclass(frozen=True)
class CutTask:
    """A phase that is done once (a task of the runner): the method of its name does it.

    Attributes:
        cut: How the pairs are cut into tasks.
        name: The phase.
    """

    cut: Cut
    name: str

    @property
    def phase(self) -> str:
        """The phase's name, for people and for files."""
        return self.name

    def run(self, number: int) -> Summary:
        """Does a task, unless it was done; its counts are in the summary's `extra`."""
        corpus = self.cut.corpus()
        marker = f"{self.cut.folder}/done/{self.phase}/{number:06d}.json"
        counts = once(corpus.store, marker, lambda: getattr(self, self.name)(corpus, number))
        return Summary(done=1, extra=Counter(counts))


@dataclass(frozen=True)
class LinkTask(CutTask):
    """One of the phases above.

    Attributes:
        turn: The turn of `above` and `below`; of `label` the last one.
    """

    turn: int = 0

    @property
    def phase(self) -> str:
        """The phase's name, with its turn."""
        return f"{self.name}-{self.turn}" if self.name in ("above", "below") else self.name

    def links(self, corpus: Corpus, piece: int) -> dict[str, int]:
        """Deals the pairs of some shards by both of their records."""
        pairs = self.cut.pairs(corpus.store, piece)
        if not self.cut.foreign:
            pairs = pairs.filter(pairs["other_shard"].is_valid())
        self._write(corpus.store, "edges-0", piece, both_ways(edges_of(pairs)))
        return {}

    def above(self, corpus: Corpus, part: int) -> dict[str, int]:
        """The step of large stars; counts who is not yet in a star."""
        edges, unsettled = joined_above(self._read(corpus.store, f"edges-{self.turn}", part))
        self._write(corpus.store, f"above-{self.turn}", part, edges)
        return {"unsettled": unsettled}

    def below(self, corpus: Corpus, part: int) -> dict[str, int]:
        """The step of small stars."""
        edges = joined_below(self._read(corpus.store, f"above-{self.turn}", part))
        self._write(corpus.store, f"edges-{self.turn + 1}", part, edges)
        return {}

    def label(self, corpus: Corpus, part: int) -> dict[str, int]:
        """Names the component of each own record: it is the centre of its star."""
        nodes, first = centres(self._read(corpus.store, f"edges-{self.turn}", part))
        own = nodes < FOREIGN
        rows = np.empty(np.count_nonzero(own), LABEL)
        # A pair's first record is an own one, and below all others: so the centre is an own one.
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
    """What runs a phase of so many tasks, and returns their counts; None if tasks failed.

    Args:
        run_tasks: Runs tasks: the phase's name, the task, numbered items, and how many they are.
    """

    def ran(task: CutTask, tasks: int) -> Counter[str] | None:
        report = run_tasks(task.phase, task, map(Item, range(tasks)), tasks)
        return None if report.failed else report.summary.extra

    return ran


def find_components(cut: Cut, run_tasks: RunTasks) -> bool:
    """Finds which records hang together, and leaves their labels.

    Args:
        cut: How the pairs are cut into tasks.
        run_tasks: As for `running`.

    Returns:
        Whether it was done; False if tasks failed.
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
    # What was read is not needed again.
    for folder in (f"edges-{turn}", f"above-{turn}"):
        remove_files(store, f"{cut.folder}/{folder}")
    return True
