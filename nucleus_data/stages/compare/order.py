"""Copies in the order of their signals, who of them is compared, and what the table says of each.

All of it is about any groups of copies, as long as each of them is whole.
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
# What is found of the files that are compared.
RANKS = pa.schema(
    [("copies", pa.int64()), ("sha256", pa.string()), ("id", pa.string())]
    + [(f.name, f.type) for f in VALUES if f.name != "copy_best"]
    + [("error", pa.string())]
)
# What an order of preference may read of the table.
RANKED = {"copy_rank": pa.int32()}
# Where no file of a group was compared, or none can be decoded, its first member is the best.
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


def ranked(members: pa.Table, ranks: pa.Table | None, most: int, threads: int = 1) -> pa.Table:
    """What the table says of each member, by shard and row.

    Args:
        members: From `in_order`.
        ranks: What was found of the files that were compared; None if none were.
        most: The rank of what was not compared.
        threads: How many the sort may use.
    """
    with duckdb.connect(config={"threads": threads}) as connection:
        places = pa.array(np.arange(members.num_rows))
        connection.register("members", members.append_column("place", places))
        connection.register("ranks", RANKS.empty_table() if ranks is None else ranks)
        found: pa.Table = connection.sql(RANKED_SQL, params=[most]).to_arrow_table()
    return found


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
