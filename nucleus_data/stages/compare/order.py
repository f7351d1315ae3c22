"""Orders copies by their signals, chooses those to compare, and makes the rows of the table.

All functions work on any set of groups of copies, as long as each group is complete.
"""

import duckdb
import numpy as np
import pyarrow as pa

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.tables import Table, table_schema
from nucleus_data.stages.compare.members import FILE
from nucleus_data.stages.compare.preference import COLUMNS, MEASURES, PREFER

VALUES = (
    pa.field("copy_rank", pa.int32()),
    pa.field("copy_best", pa.string()),
    pa.field("copy_faults", pa.list_(pa.string())),
)
SCHEMA = table_schema(pa.schema(VALUES))
# The result for each compared file.
RANKS = pa.schema(
    [("copies", pa.int64()), ("sha256", pa.string()), ("id", pa.string())]
    + [(f.name, f.type) for f in VALUES if f.name != "copy_best"]
    + [("error", pa.string())]
)
# Columns of the table that an order of preference may read.
RANKED = {"copy_rank": pa.int32()}
# If no file of a group was compared, or none could be decoded, its first member is the best.
RANKED_SQL = """
    WITH best AS (SELECT copies, id FROM ranks WHERE copy_rank = 0),
        firsts AS (SELECT copies, arg_min(id, place) AS id FROM members GROUP BY copies)
    SELECT members.shard, members."row", members.id,
        coalesce(ranks.copy_rank, CASE WHEN best.id IS NULL THEN 0 ELSE $1 END) AS copy_rank,
        coalesce(best.id, firsts.id) AS copy_best,
        coalesce(ranks.copy_faults, [])::VARCHAR[] AS copy_faults,
        ranks.error
    FROM members
        JOIN firsts ON firsts.copies = members.copies
        LEFT JOIN best ON best.copies = members.copies
        LEFT JOIN ranks ON ranks.copies = members.copies AND ranks.sha256 = members.sha256
    ORDER BY members.shard, members."row"
"""


def in_order(members: pa.Table, threads: int = 1) -> pa.Table:
    """Sorts members by group and, within a group, by their signals, best first; adds `MEASURES`.

    If signals are missing, members are sorted by pixels, if these are known, and bytes.

    Args:
        members: Some groups of copies, each of them complete.
        threads: Number of threads of the sort.
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
        ordered: pa.Table = connection.sql(
            f"SELECT {keys}, {measures} FROM members ORDER BY copies, {order}, id"
        ).to_arrow_table()
    return ordered


def contenders(members: pa.Table, most: int) -> pa.Table:
    """Chooses the members to compare: the first few files of each group with different files.

    Args:
        members: Members from `in_order`.
        most: Most files of a group to compare.

    Returns:
        One row of `members` for each file to compare; groups of a single file are left out.
    """
    groups = members.column("copies").to_numpy()
    digests = members.column("sha256").dictionary_encode().combine_chunks().indices.to_numpy()
    # The first member with each file of a group; members are ordered by group.
    _, firsts = np.unique(np.stack([groups, digests]), axis=1, return_index=True)
    firsts = np.sort(firsts)
    file_groups = groups[firsts]
    _, starts, counts = np.unique(file_groups, return_index=True, return_counts=True)
    place = np.arange(len(file_groups)) - np.repeat(starts, counts)
    chosen = firsts[(place < most) & (np.repeat(counts, counts) > 1)]
    return members.take(pa.array(chosen))


def ranked(members: pa.Table, ranks: pa.Table | None, most: int, threads: int = 1) -> pa.Table:
    """Makes the table's row for each member, ordered by shard and row.

    Args:
        members: Members from `in_order`.
        ranks: The results for the compared files, as `RANKS`; None if no files were compared.
        most: The rank of files that were not compared.
        threads: Number of threads of the sort.
    """
    with duckdb.connect(config={"threads": threads}) as connection:
        places = pa.array(np.arange(members.num_rows))
        connection.register("members", members.append_column("place", places))
        connection.register("ranks", RANKS.empty_table() if ranks is None else ranks)
        rows: pa.Table = connection.sql(RANKED_SQL, params=[most]).to_arrow_table()
    return rows


def counts_of(members: pa.Table, chosen: pa.Table) -> dict[str, int]:
    """Counts the records, pictures and compared files of some groups.

    Args:
        members: Members from `in_order`.
        chosen: The files to compare, from `contenders`.
    """
    pictures = len(np.unique(members.column("copies").to_numpy()))
    return {"records": members.num_rows, "pictures": pictures, "compared": chosen.num_rows}


def failed_of(ranks: pa.Table | None) -> int:
    """Counts the files that could not be decoded; 0 without ranks."""
    return 0 if ranks is None else ranks.num_rows - ranks["error"].null_count


def write_ranks(target: Table, rows: pa.Table) -> None:
    """Writes rows from `ranked` to the table, as one part per shard; existing rows are left."""
    rows = rows.cast(SCHEMA)
    shards = rows.column("shard").to_numpy()
    numbers, starts = np.unique(shards, return_index=True)
    bounds = [*starts.tolist(), len(shards)]

    def write(i: int) -> None:
        # A copy, because the part's bytes must not depend on the rows around a slice.
        part = rows.take(np.arange(bounds[i], bounds[i + 1])).combine_chunks()
        target.append(int(numbers[i]), part, {})

    list(at_once(target.store, write, range(len(numbers))))
