"""Finds the records that have a copy, and reads what is needed to compare them.

The passes of `compare` exchange files in `_work/`, beside the table. For each group of shards there
are `pairs` (its records with a copy) and `members` (the same, with all that is known of them). For
each shard in which a group of copies begins, there are `copies` and `ranks`. Files do not depend on
how often they are written, so that an interrupted run can be continued.
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
# Number of shards in a group of shards.
SHARDS_A_TASK = 16
FILE = ("file", "offset", "size", "sha256")


@dataclass(frozen=True)
class ComparePlan:
    """What is compared, and how; sent to the tasks.

    Attributes:
        uri: Path or URL of the corpus.
        storage_options: Options for fsspec.
        tables: Table name -> config hash, of the tables that are read and of `compare`.
        shards: All image shards, ascending.
        read: Table -> its columns that the order by signals reads, as far as they are measured.
        members: Most copies of a picture that are decoded.
        max_pixels: Pictures with more pixels are not decoded.
        work: The folder of the files that passes exchange; if empty, `_work` beside the table.
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
        """Returns the path of a file that a pass writes for a later one."""
        return f"{self.work or f'{self.folder}/{WORK}'}/{kind}-{number:06d}.arrow"

    def items(self, groups: Iterable[int]) -> list[Item]:
        """Returns groups of shards as items for the runner, identified by their first shard."""
        firsts = (bisect_left(self.shards, group * SHARDS_A_TASK) for group in groups)
        return [Item(self.shards[first]) for first in firsts]


@dataclass(frozen=True)
class GatherTask:
    """Reads what is known of a group of shards' records with a copy (a task of the runner)."""

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
    """Reads what is needed to compare records: their files' places, and the plan's signals.

    Args:
        plan: What is compared.
        corpus: The corpus.
        asked: At least one record, with `shard`, `row`, and other columns, which are kept.

    Returns:
        The records, without the columns of tables that have none of their shards.

    Raises:
        CorpusError: A shard has no records.
    """
    shards = pc.unique(asked.column("shard")).to_pylist()
    parts = (
        _known(plan, corpus, shard, asked.filter(pc.equal(asked.column("shard"), shard)))
        for shard in shards
    )
    return pa.concat_tables(parts, promote_options="permissive")


def _known(plan: ComparePlan, corpus: Corpus, shard: int, asked: pa.Table) -> pa.Table:
    """Reads what is needed to compare records of one shard; see `known`."""
    rows = asked.column("row")
    records = corpus.records.read(shard, ["row", "id", *FILE])
    if records is None:
        raise CorpusError(f"shard {shard:06d} has no records")
    joined = asked.join(records, "row").sort_by("row")
    for name, columns in plan.read.items():
        table = Table(corpus.store, name, plan.tables[name]).read(shard, ["row", *columns])
        if table is not None:
            signals = table.filter(pc.is_in(table.column("row"), rows.combine_chunks()))
            joined = joined.join(signals, "row", join_type="left outer").sort_by("row")
    return joined


def write_pairs(plan: ComparePlan, corpus: Corpus, pairs: pa.Table) -> list[int]:
    """Writes which records have a copy in this corpus, and which group of copies they belong to.

    Args:
        plan: What is compared.
        corpus: The corpus.
        pairs: All rows of the table `dedup`.

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
    # A group of copies is named by the place of its first record.
    table = grouped(places, places[components(len(places), first, second)])
    return write_by(plan, corpus, "pairs", table, (places >> 32) // SHARDS_A_TASK)


def grouped(places: NDArray[np.int64], groups: NDArray[np.int64]) -> pa.Table:
    """Makes a table of shard, row and group of copies, from places and groups, int64[N] each."""
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
    """Writes rows to one file for each number.

    Args:
        plan: What is compared.
        corpus: The corpus.
        kind: The kind of file.
        rows: N rows, sorted by their numbers.
        numbers: The number of each row's file, ascending, int64[N].

    Returns:
        The different numbers.
    """
    distinct, starts = np.unique(numbers, return_index=True)
    bounds = [*starts.tolist(), rows.num_rows]

    def write(i: int) -> None:
        part = rows.slice(bounds[i], bounds[i + 1] - bounds[i])
        put(corpus.store, plan.exchanged(kind, int(distinct[i])), part)

    list(at_once(corpus.store, write, range(len(distinct))))
    return [int(number) for number in distinct]


def read_all(
    plan: ComparePlan, corpus: Corpus, kind: str, numbers: Iterable[int]
) -> pa.Table | None:
    """Reads the existing files of a kind, of those with the given numbers; None if none exists."""
    names = (plan.exchanged(kind, number) for number in numbers)
    parts = at_once(corpus.store, lambda name: get(corpus.store, name), names)
    tables = [part for part in parts if part is not None]
    return pa.concat_tables(tables, promote_options="permissive") if tables else None
