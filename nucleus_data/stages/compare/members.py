"""The records that have a copy: which belong together, and what must be known to compare them.

What the passes of `compare` hand to each other lies beside the table, in `_work/`: `pairs` (who has
a copy, a file for each group of shards), `members` (with all that is known of them) and, of each
shard in which a group of copies begins, `copies` and `ranks`. The files are the same however often
they are written, so a run that was broken off goes on where it was.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.exchanged import get, put
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stages.dedup.walk import components

TABLE = "compare"
WORK = "_work"
# Files of `_work` are of so many shards.
SHARDS_A_TASK = 16
FILE = ("file", "offset", "size", "sha256")


@dataclass(frozen=True)
class ComparePlan:
    """What is compared.

    Attributes:
        uri: The corpus.
        storage_options: For fsspec.
        tables: Config hashes of the tables that are read, and of `compare`.
        shards: All image shards, ascending.
        read: Table -> the columns of the order by signals; empty where some are not measured.
        members: How many copies of a picture are decoded at most.
        max_pixels: Pictures of more pixels are not decoded.
        work: The folder of what the passes hand to each other; `_work`, beside the table, if it is
            not said.
    """

    uri: str
    storage_options: Mapping[str, Any]
    tables: Mapping[str, str]
    shards: Sequence[int]
    read: Mapping[str, tuple[str, ...]]
    members: int
    max_pixels: int
    work: str = ""

    def corpus(self) -> Corpus:
        """Opens the corpus."""
        return Corpus(self.uri, self.storage_options)

    @property
    def folder(self) -> str:
        """The table's folder."""
        return f"tables/{TABLE}/{self.tables[TABLE]}"

    def exchanged(self, kind: str, number: int) -> str:
        """Path of a file that one pass leaves for the next."""
        return f"{self.work or f'{self.folder}/{WORK}'}/{kind}-{number:06d}.arrow"

    def items(self, groups: Iterable[int]) -> list[Item]:
        """Groups of shards for the runner, which knows them by their first shard."""
        firsts = (bisect_left(self.shards, group * SHARDS_A_TASK) for group in groups)
        return [Item(self.shards[first]) for first in firsts]


@dataclass(frozen=True)
class GatherTask:
    """Reads what is known of the records with a copy, of a group of shards (a runner's task)."""

    plan: ComparePlan

    def run(self, number: int) -> Summary:
        """Writes the group's `members`; `number` is its first shard."""
        plan, group = self.plan, number // SHARDS_A_TASK
        corpus = plan.corpus()
        done = plan.exchanged("members", group)
        if not corpus.store.exists(done):
            asked = get(corpus.store, plan.exchanged("pairs", group))
            assert asked is not None
            put(corpus.store, done, known(plan, corpus, asked))
        return Summary()


def known(plan: ComparePlan, corpus: Corpus, asked: pa.Table) -> pa.Table:
    """Records with all that must be known to compare them.

    Args:
        plan: What is compared.
        corpus: The corpus.
        asked: At least one record: `shard`, `row`, and what else is to stay beside it.

    Returns:
        The records; without the columns of a table that has none of their shards.
    """
    shards = pc.unique(asked.column("shard")).to_pylist()
    parts = (
        _known(plan, corpus, shard, asked.filter(pc.equal(asked.column("shard"), shard)))
        for shard in shards
    )
    return pa.concat_tables(parts, promote_options="permissive")


def _known(plan: ComparePlan, corpus: Corpus, shard: int, asked: pa.Table) -> pa.Table:
    rows = asked.column("row")
    records = corpus.records.read(shard, ["row", "id", *FILE])
    if records is None:
        raise CorpusError(f"shard {shard:06d} has no records")
    found = asked.join(records, "row").sort_by("row")
    for name, columns in plan.read.items():
        table = Table(corpus.store, name, plan.tables[name]).read(shard, ["row", *columns])
        if table is not None:
            mine = table.filter(pc.is_in(table.column("row"), rows.combine_chunks()))
            found = found.join(mine, "row", join_type="left outer").sort_by("row")
    return found


def write_pairs(plan: ComparePlan, corpus: Corpus, pairs: pa.Table) -> list[int]:
    """Says which records have a copy in this corpus, and which belong together.

    Returns:
        The groups of shards that have such records.
    """
    here = pairs.filter(pairs["other_shard"].is_valid())
    ends = [
        here[shard].to_numpy().astype(np.int64) << 32 | here[row].to_numpy()
        for shard, row in (("shard", "row"), ("other_shard", "other_row"))
    ]
    places, at = np.unique(np.concatenate(ends), return_inverse=True)
    first, second = at[: len(ends[0])], at[len(ends[0]) :]
    # A group is named by its first record.
    table = grouped(places, places[components(len(places), first, second)])
    return write_by(plan, corpus, "pairs", table, (places >> 32) // SHARDS_A_TASK)


def grouped(places: NDArray[np.int64], groups: NDArray[np.int64]) -> pa.Table:
    """Records as shard and row, and the group of copies that each is of; int64[N] each."""
    return pa.table(
        {
            "shard": pa.array(places >> 32, pa.int32()),
            "row": pa.array(places & 0xFFFFFFFF, pa.int32()),
            "copies": pa.array(groups, pa.int64()),
        }
    )


def write_by(
    plan: ComparePlan, corpus: Corpus, kind: str, rows: pa.Table, numbers: NDArray[np.int64]
) -> list[int]:
    """Writes rows, sorted by a number, as a file for each number; returns the numbers."""
    found, starts = np.unique(numbers, return_index=True)
    bounds = [*starts.tolist(), rows.num_rows]

    def write(i: int) -> None:
        mine = rows.slice(bounds[i], bounds[i + 1] - bounds[i])
        put(corpus.store, plan.exchanged(kind, int(found[i])), mine)

    list(at_once(corpus.store, write, range(len(found))))
    return [int(number) for number in found]


def read_all(
    plan: ComparePlan, corpus: Corpus, kind: str, numbers: Iterable[int]
) -> pa.Table | None:
    """The rows of those files of a kind that are there; None if none is."""
    names = (plan.exchanged(kind, number) for number in numbers)
    parts = at_once(corpus.store, lambda name: get(corpus.store, name), names)
    there = [part for part in parts if part is not None]
    return pa.concat_tables(there, promote_options="permissive") if there else None
