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

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.exchanged import get, put
from nucleus_data.corpus.tables import KEY_FIELDS, Table
from nucleus_data.errors import CorpusError
from nucleus_data.runner.work import Item, Summary
from nucleus_data.stages.compare.preference import COLUMNS, MEASURES, PREFER
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
    """

    uri: str
    storage_options: Mapping[str, Any]
    tables: Mapping[str, str]
    shards: Sequence[int]
    read: Mapping[str, tuple[str, ...]]
    members: int
    max_pixels: int

    def corpus(self) -> Corpus:
        """Opens the corpus."""
        return Corpus(self.uri, self.storage_options)

    @property
    def folder(self) -> str:
        """The table's folder."""
        return f"tables/{TABLE}/{self.tables[TABLE]}"

    def exchanged(self, kind: str, number: int) -> str:
        """Path of a file that one pass leaves for the next."""
        return f"{self.folder}/{WORK}/{kind}-{number:06d}.arrow"

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
            shards = pc.unique(asked.column("shard")).to_pylist()
            parts = [
                self._shard(corpus, shard, asked.filter(pc.equal(asked.column("shard"), shard)))
                for shard in shards
            ]
            put(corpus.store, done, pa.concat_tables(parts, promote_options="permissive"))
        return Summary()

    def _shard(self, corpus: Corpus, shard: int, asked: pa.Table) -> pa.Table:
        rows = asked.column("row")
        records = corpus.records.read(shard, ["row", "id", *FILE])
        if records is None:
            raise CorpusError(f"shard {shard:06d} has no records")
        found = asked.join(records, "row").sort_by("row")
        for name, columns in self.plan.read.items():
            table = Table(corpus.store, name, self.plan.tables[name]).read(shard, ["row", *columns])
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
    named = places[components(len(places), first, second)]
    shards, rows = places >> 32, places & 0xFFFFFFFF
    table = pa.table(
        {
            "shard": pa.array(shards, pa.int32()),
            "row": pa.array(rows, pa.int32()),
            "copies": pa.array(named, pa.int64()),
        }
    )
    return write_by(plan, corpus, "pairs", table, shards // SHARDS_A_TASK)


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


def read_all(plan: ComparePlan, corpus: Corpus, kind: str, numbers: Iterable[int]) -> pa.Table:
    """The rows of all files of a kind."""
    names = (plan.exchanged(kind, number) for number in numbers)
    parts = at_once(corpus.store, lambda name: get(corpus.store, name), names)
    there = [part for part in parts if part is not None]
    return pa.concat_tables(there, promote_options="permissive")


def in_order(members: pa.Table) -> pa.Table:
    """Members by their group and, in it, best first by their signals; with `MEASURES`.

    Where signals are missing, by pixels and bytes as far as they are there.
    """
    known = set(members.column_names)
    if known >= set(COLUMNS):
        order, measures = ", ".join(PREFER), ", ".join(f"{m} AS {n}" for n, m in MEASURES.items())
    else:
        size = "width * height desc, " if {"width", "height"} <= known else ""
        order, measures = f"{size}size desc", ", ".join(f"NULL::DOUBLE AS {n}" for n in MEASURES)
    keys = ", ".join(f'"{name}"' for name in ("shard", "row", "id", "copies", *FILE))
    with duckdb.connect() as connection:
        connection.register("members", members)
        found: pa.Table = connection.sql(
            f"SELECT {keys}, {measures} FROM members ORDER BY copies, {order}, id"
        ).to_arrow_table()
    return found


def contenders(members: pa.Table, most: int) -> pa.Table:
    """Which of the members are compared: of each group with different files, the first few.

    Args:
        members: From `in_order`.
        most: How many files of a group are compared at most.

    Returns:
        Rows of members, one for each file that is compared, with groups of one file left out.
    """
    groups = members.column("copies").to_numpy()
    digests = members.column("sha256").dictionary_encode().combine_chunks().indices.to_numpy()
    # The first of each file in its group: members stand by group.
    _, firsts = np.unique(np.stack([groups, digests]), axis=1, return_index=True)
    firsts = np.sort(firsts)
    mine = groups[firsts]
    _, starts, counts = np.unique(mine, return_index=True, return_counts=True)
    place = np.arange(len(mine)) - np.repeat(starts, counts)
    chosen = firsts[(place < most) & (np.repeat(counts, counts) > 1)]
    return members.take(pa.array(chosen))


def ranked(members: pa.Table, ranks: pa.Table | None, most: int) -> pa.Table:
    """What the table says of each member, by shard and row.

    Args:
        members: From `in_order`.
        ranks: What was found of the files that were compared; None if none were.
        most: The rank of what was not compared.
    """
    groups = members.column("copies").to_numpy()
    ids = members.column("id").to_pylist()
    digests = members.column("sha256").to_pylist()
    first = {g: ids[i] for g, i in zip(*np.unique(groups, return_index=True), strict=True)}
    known: dict[tuple[int, str], dict[str, Any]] = {}
    best: dict[int, str] = {}
    for row in ranks.to_pylist() if ranks is not None else []:
        known[row["copies"], row["sha256"]] = row
        if row["copy_rank"] == 0:
            best[row["copies"]] = row["id"]
    rank, of, faults, errors = [], [], [], []
    for group, digest in zip(groups.tolist(), digests, strict=True):
        row = known.get((group, digest))
        alone = group not in best
        rank.append(row["copy_rank"] if row else 0 if alone else most)
        of.append(best.get(group, first[group]))
        faults.append(row["copy_faults"] if row else [])
        errors.append(row["error"] if row else None)
    found = members.select([field.name for field in KEY_FIELDS])
    for field, values in zip(VALUES, (rank, of, faults), strict=True):
        found = found.append_column(field, pa.array(values, field.type))
    found = found.append_column("error", pa.array(errors, pa.string()))
    return found.sort_by([("shard", "ascending"), ("row", "ascending")])


VALUES = (
    pa.field("copy_rank", pa.int32()),
    pa.field("copy_best", pa.string()),
    pa.field("copy_faults", pa.list_(pa.string())),
)
# What an order of preference may read of it.
RANKED = {"copy_rank": pa.int32()}
