"""Searches more records than a process can hold: the steps of `pairs`, on files, on all workers.

| phase | a task reads | and writes |
|---|---|---|
| gather | some shards' tables | `records`, by SHA-256 |
| bytes | all records with some SHA-256s | `edges` (equal files), `pictures`, by pHash |
| classes | all pictures with some pHashes | `edges` and `crowds` (equal pHashes), `leaders` |
| deal-B | some leaders | `dealt-B`, by their bits in block B |
| search-B | all leaders with some values of block B | `edges` and `crowds` (near pictures) |
| write | all edges and members of crowds of some shards | their parts of the table `dedup` |

The phases deal and search run for one block at a time, so that the leaders are on the disk twice
and not six times. A finished task writes a marker, so that a killed run can be continued. Only task
numbers and counts go through Ray. A task holds one partition of the records: about
`dedup.partition_records`, and more only if very many pictures agree in a whole block.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.marked import once, remove_files
from nucleus_data.corpus.shuffle import read_rows, spread, write_rows
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table
from nucleus_data.hashing import config_hash
from nucleus_data.runner.work import Item, StageReport, Summary
from nucleus_data.stages.dedup.gather import ComparedCorpus
from nucleus_data.stages.dedup.rows import (
    EDGE,
    LISTED,
    PICTURE,
    RECORD,
    Rows,
    by_place,
    pairs_table,
    shard_of,
)
from nucleus_data.stages.dedup.settings import DedupSettings

RunTasks = Callable[[str, Any, Iterable[Item], int], StageReport]


@dataclass(frozen=True)
class SearchPlan:
    """How a search is divided into tasks.

    Attributes:
        sources: The corpora, the own one first.
        pieces: Number of a source, and some of its shards: a task of `gather`, and for the own
            corpus also one of `write`.
        parts: Number of partitions of the records.
        settings: What counts as near.
        table: Config hash of the table `dedup`.
    """

    sources: Sequence[ComparedCorpus]
    pieces: Sequence[tuple[int, Sequence[int]]]
    parts: int
    settings: DedupSettings
    table: str

    @classmethod
    def made(
        cls, sources: Sequence[ComparedCorpus], records: int, settings: DedupSettings, table: str
    ) -> "SearchPlan":
        """Makes a plan for about `records` records; the other arguments are the attributes."""
        parts = max(1, -(-records // settings.partition_records))
        shards = sum(len(source.shards) for source in sources)
        together = max(1, shards // parts)
        pieces = [
            (source.number, source.shards[at : at + together])
            for source in sources
            for at in range(0, len(source.shards), together)
        ]
        return cls(sources, pieces, parts, settings, table)

    @property
    def own_pieces(self) -> list[Sequence[int]]:
        """Shards of the own corpus, by piece."""
        return [shards for number, shards in self.pieces if number == 0]

    @property
    def folder(self) -> str:
        """The folder of the files, named by a hash of what their content depends on."""
        how = config_hash(
            {"parts": self.parts, "pieces": [[n, list(shards)] for n, shards in self.pieces]}
        )
        return f"tables/dedup/{self.table}/_search/{how}"

    def store(self) -> Store:
        """Opens the own corpus's store."""
        return Store(self.sources[0].uri, self.sources[0].storage_options)


@dataclass(frozen=True)
class Phase:
    """One phase (a task of the runner).

    Attributes:
        plan: How the search is divided into tasks.
        name: The phase, as in the table above, without the block.
        block: The block of bits of `deal` and `search`; other phases ignore it.
        shares: The share of the leaders' pHashes in which each bit is set, float64[64].
        codes: Number of different pHashes.
    """

    plan: SearchPlan
    name: str
    block: int = 0
    shares: Sequence[float] = ()
    codes: int = 0

    @property
    def label(self) -> str:
        """The phase's name, with its block."""
        return f"{self.name}-{self.block}" if self.name in ("deal", "search") else self.name

    def run(self, number: int) -> Summary:
        """Runs a task, unless it was done before; its counts are in the summary's `extra`."""
        store = self.plan.store()
        marker = f"{self.plan.folder}/done/{self.label}/{number:06d}.json"
        counts = once(store, marker, lambda: getattr(_Work(self, store), self.name)(number))
        return Summary(rows=counts.get("rows", 0), done=1, extra=Counter(counts))


class _Work:
    """The work of a task; each public method is a phase, and returns counts."""

    def __init__(self, phase: Phase, store: Store) -> None:
        self.phase, self.plan, self.store = phase, phase.plan, store
        self.settings, self.parts = phase.plan.settings, phase.plan.parts

    def gather(self, number: int) -> dict[str, int]:
        """Reads some shards, and deals their records by SHA-256."""
        source, shards = self.plan.pieces[number]
        records = self.plan.sources[source].read(shards)
        self._write("records", number, records, spread(records["sha256"][:, 0], self.parts))
        return {"records": len(records)} if source == 0 else {"others": len(records)}

    def bytes(self, number: int) -> dict[str, int]:
        """Links equal files, and deals one picture of each by its pHash."""
        from nucleus_data.stages.dedup.pairs import by_bytes

        records = by_place(self._read("records", number, RECORD))
        exact, pictures = by_bytes(records)
        self._write_edges(f"bytes-{number:06d}", exact)
        self._write("pictures", number, pictures, spread(pictures["phash"], self.parts))
        return {"exact": len(exact)}

    def classes(self, number: int) -> dict[str, int]:
        """Links equal pictures, writes each class's leader, and counts the bits of pHashes."""
        from nucleus_data.stages.dedup.crowds import thinned
        from nucleus_data.stages.dedup.groups import group_equal
        from nucleus_data.stages.dedup.pairs import Confirming, by_class, edges_of, set_bits

        pictures = by_place(self._read("pictures", number, PICTURE))
        links, leaders = by_class(pictures)
        groups = group_equal(leaders["phash"])
        candidates: Counter[str] = Counter()
        equal = Confirming(leaders, groups, self.settings, candidates).equal_codes()
        near, listed = thinned(equal, leaders, self.settings)
        name = f"classes-{number:06d}"
        self._write_edges(name, np.concatenate([links, edges_of(leaders, near)]))
        self._write_listed(name, listed)
        # Not partitioned yet: the bits of each block are only known once all leaders are counted.
        self._write("leaders", number, leaders, np.zeros(len(leaders)), 1)
        bits = {f"bit {bit}": int(count) for bit, count in enumerate(set_bits(groups.codes))}
        return {"crowded": len(listed), "codes": len(groups.codes), **bits, **candidates}

    def deal(self, number: int) -> dict[str, int]:
        """Deals leaders by their bits in the phase's block."""
        leaders = read_rows(self.store, [self._name("leaders", number)], 0, 1, PICTURE)
        values = self._layout().values(np.ascontiguousarray(leaders["phash"]), self.phase.block)
        reader = spread(values.astype(np.uint64), self.parts)
        self._write(self._dealt(), number, leaders, reader)
        return {}

    def search(self, number: int) -> dict[str, int]:
        """Finds and confirms the near pairs among the leaders that share values of the block."""
        from nucleus_data.stages.dedup.crowds import thinned
        from nucleus_data.stages.dedup.groups import group_equal
        from nucleus_data.stages.dedup.pairs import Confirming, edges_of
        from nucleus_data.stages.dedup.search import pairs_of_block

        leaders = by_place(self._read(self._dealt(), number, PICTURE))
        groups = group_equal(leaders["phash"])
        codes = pairs_of_block(groups.codes, self._layout(), self.phase.block)
        candidates: Counter[str] = Counter()
        found = Confirming(leaders, groups, self.settings, candidates).near(codes)
        near, listed = thinned(found, leaders, self.settings)
        name = f"{self.phase.label}-{number:06d}"
        self._write_edges(name, edges_of(leaders, near))
        self._write_listed(name, listed)
        return {"crowded": len(listed), **candidates}

    def write(self, number: int) -> dict[str, int]:
        """Writes all edges and members of crowds of some shards into the table."""
        edges = self._read_edges("edges", number, EDGE)
        listed = self._read_edges("crowds", number, LISTED)
        target = Table(self.store, "dedup", self.plan.table)
        pairs = pairs_table(edges, tuple(self.settings.against), listed)
        write_pairs(target, pairs)
        return {"pairs": pairs.num_rows}

    def _layout(self) -> Any:
        """Returns the layout, which is the same in all tasks: it depends only on the phase."""
        from nucleus_data.stages.dedup.search import Layout

        phase = self.phase
        return Layout.chosen(np.array(phase.shares), phase.codes, self.settings.distance)

    def _folder(self, name: str) -> str:
        return f"{self.plan.folder}/{name}"

    def _dealt(self) -> str:
        return f"dealt-{self.phase.block}"

    def _name(self, folder: str, number: int) -> str:
        return f"{self._folder(folder)}/{number:06d}"

    def _write(
        self, folder: str, number: int, rows: Rows, reader: Any, readers: int | None = None
    ) -> None:
        write_rows(self.store, self._name(folder, number), rows, reader, readers or self.parts)

    def _write_edges(self, name: str, edges: Rows, folder: str = "edges") -> None:
        firsts = [shards[0] for shards in self.plan.own_pieces]
        reader = np.searchsorted(firsts, shard_of(edges["place"]), side="right") - 1
        write_rows(self.store, f"{self._folder(folder)}/{name}", edges, reader, len(firsts))

    def _write_listed(self, name: str, listed: Rows) -> None:
        if len(listed):  # most corpora have no crowds
            self._write_edges(name, listed, "crowds")

    def _read_edges(self, folder: str, reader: int, kind: np.dtype[Any]) -> Rows:
        names = [f"{self._folder(folder)}/{n}" for n in self.store.list(self._folder(folder))]
        return read_rows(self.store, names, reader, len(self.plan.own_pieces), kind)

    def _read(self, folder: str, reader: int, kind: np.dtype[Any]) -> Rows:
        names = [f"{self._folder(folder)}/{n}" for n in self.store.list(self._folder(folder))]
        return read_rows(self.store, names, reader, self.parts, kind)


def search_partitioned(plan: SearchPlan, run_tasks: RunTasks) -> Counter[str] | None:
    """Finds and writes all pairs.

    Args:
        plan: How the search is divided into tasks.
        run_tasks: Runs tasks, given the phase's name, the task, the items, and their number.

    Returns:
        Counts: `records`, `pairs`, `exact`, `candidates`, `crowded`; None if tasks failed.
    """
    store, counts = plan.store(), Counter[str]()

    def done(phase: Phase, tasks: int) -> bool:
        report = run_tasks(phase.label, phase, (Item(n) for n in range(tasks)), tasks)
        counts.update(report.summary.extra)
        return not report.failed

    if not done(Phase(plan, "gather"), len(plan.pieces)):
        return None
    for name, used in (("bytes", "records"), ("classes", "pictures")):
        if not done(Phase(plan, name), plan.parts):
            return None
        # The input of a finished phase is not needed again.
        remove_files(store, f"{plan.folder}/{used}")
    codes = counts["codes"]
    shares = [counts.pop(f"bit {bit}", 0) / max(codes, 1) for bit in range(64)]
    near = Phase(plan, "deal", shares=shares, codes=codes)
    # Near codes agree in k of distance + k blocks, and so in one of the first distance + 1. At
    # distance 0, near codes are equal, and the phase `classes` has found them.
    for block in range(plan.settings.distance + 1 if plan.settings.distance else 0):
        searched = replace(near, name="search", block=block)
        # If the search of the block is finished, its dealt leaders were removed: not dealt again.
        finished = store.list(f"{plan.folder}/done/{searched.label}")
        if len(finished) < plan.parts and not done(replace(near, block=block), plan.parts):
            return None
        if not done(searched, plan.parts):
            return None
        remove_files(store, f"{plan.folder}/dealt-{block}")
    if not done(Phase(plan, "write"), len(plan.own_pieces)):
        return None
    return counts


def clear(store: Store, table: str) -> None:
    """Removes the files of all searches for a table."""
    store.remove_folder(f"tables/dedup/{table}/_search")


def write_pairs(target: Table, pairs: Any) -> None:
    """Writes pairs, sorted by shard, as one part per shard; skips shards that have their part."""
    shards = pairs.column("shard").to_numpy()
    numbers, starts = np.unique(shards, return_index=True)
    bounds = [*starts.tolist(), len(shards)]

    def write(i: int) -> None:
        # A row may be the first of several pairs, so parts can't be extended by missing rows: each
        # is written as a whole, once.
        if not len(target.covered(int(numbers[i]))):
            part = pairs.slice(bounds[i], bounds[i + 1] - bounds[i])
            target.append(int(numbers[i]), part, {})

    list(at_once(target.store, write, range(len(numbers))))
