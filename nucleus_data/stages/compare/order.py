"""Copies in the order of their signals, who of them is compared, and what the table says of each.

All of it is about any groups of copies, as long as each of them is whole.
"""

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.tables import KEY_FIELDS, Table, table_schema
from nucleus_data.stages.compare.members import FILE
from nucleus_data.stages.compare.preference import COLUMNS, MEASURES, PREFER

VALUES = (
    pa.field("copy_rank", pa.int32()),
    pa.field("copy_best", pa.string()),
    pa.field("copy_faults", pa.list_(pa.string())),
)
SCHEMA = table_schema(pa.schema(VALUES))
# What an order of preference may read of it.
RANKED = {"copy_rank": pa.int32()}


def in_order(members: pa.Table, threads: int = 1) -> pa.Table:
    """Members by their group and, in it, best first by their signals; with `MEASURES`.

    Where signals are missing, by pixels and bytes as far as they are there.

    Args:
        members: Some groups, each of them whole.
        threads: How many the sort may use.
    """
    known = set(members.column_names)
    if known >= set(COLUMNS):
        order, measures = ", ".join(PREFER), ", ".join(f"{m} AS {n}" for n, m in MEASURES.items())
    else:
        size = "width * height desc, " if {"width", "height"} <= known else ""
        order, measures = f"{size}size desc", ", ".join(f"NULL::DOUBLE AS {n}" for n in MEASURES)
    keys = ", ".join(f'"{name}"' for name in ("shard", "row", "id", "copies", *FILE))
    with duckdb.connect(config={"threads": threads}) as connection:
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


def counts_of(members: pa.Table, chosen: pa.Table) -> dict[str, int]:
    """How many records, pictures and compared files some groups have.

    Args:
        members: From `in_order`.
        chosen: From `contenders`.
    """
    pictures = len(np.unique(members.column("copies").to_numpy()))
    return {"records": members.num_rows, "pictures": pictures, "compared": chosen.num_rows}


def failed_of(ranks: pa.Table | None) -> int:
    """How many files can't be decoded; of no ranks, none."""
    return 0 if ranks is None else ranks.num_rows - ranks["error"].null_count


def write_ranks(target: Table, rows: pa.Table) -> None:
    """Writes rows of `ranked` into the table, one part a shard; a shard that has one is left."""
    rows = rows.cast(SCHEMA)
    shards = rows.column("shard").to_numpy()
    numbers, starts = np.unique(shards, return_index=True)
    bounds = [*starts.tolist(), len(shards)]

    def write(i: int) -> None:
        # A copy: how the rows around a slice lie must not show in the part's bytes.
        mine = rows.take(np.arange(bounds[i], bounds[i + 1])).combine_chunks()
        target.append(int(numbers[i]), mine, {})

    list(at_once(target.store, write, range(len(numbers))))
