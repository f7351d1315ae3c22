"""Finds the survivors of duplicates: the one query of a page that joins rows of different shards.

A duplicate and its survivor may be in any two shards. If there are few shards, DuckDB joins them.
If there are very many, each piece deals its kept ids and the survivors of its duplicates, as
numbers, to readers by these numbers (`corpus.shuffle`), and each reader counts its share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.shuffle import read_rows, spread, write_rows
from nucleus_data.hashing import keyed_sql
from nucleus_data.pages.tables import Tables

EXAMPLES = "report"  # key of the order by which examples are chosen
MOST = 100  # most clusters that a reader returns
PIECES_A_READER = 6
# Kinds of links: a duplicate of a record of this corpus, or of another one; 0 is a kept record.
OWN, ELSEWHERE = 1, 2
LINK = np.dtype([("high", "<u8"), ("low", "<u8"), ("place", "<i8"), ("kind", "u1")])
LINKS = "links"


@dataclass(frozen=True)
class Links:
    """The clusters of all shards.

    Attributes:
        total: Number of clusters.
        without: Number of duplicates whose survivor is not a kept record.
        largest: For the largest clusters, the number of dropped records, and the shard and the row
            of one of these.
    """

    total: int
    without: int
    largest: Sequence[tuple[int, int, int]]


def without_survivor(tables: Tables) -> int:
    """Counts the duplicates whose survivor is not a kept record of this corpus."""
    if tables.pieces is not None:
        return _links(tables).without
    selection = tables.sql("selection")
    ((without,),) = tables.rows(
        f"select count(*) from {selection} d "
        f"anti join (select id from {selection} where state = 'kept') k on d.duplicate_of = k.id "
        "where d.state = 'duplicate' and not contains(d.duplicate_of, ':')"  # of this corpus
    )
    return int(without)


def largest_clusters(tables: Tables, limit: int) -> tuple[int, dict[str, int]]:
    """Returns the number of clusters, and survivor -> number of dropped records, of the largest.

    Args:
        tables: The run's tables, with a selection.
        limit: Most clusters that are returned.
    """
    if tables.pieces is not None:
        links = _links(tables)
        return links.total, _named(tables, links.largest[: min(limit, MOST)])
    selection = tables.sql("selection")
    ((total,),) = tables.rows(
        f"select count(distinct duplicate_of) from {selection} where state = 'duplicate'"
    )
    sizes = tables.rows(
        f"select duplicate_of, count(*) from {selection} "
        "where state = 'duplicate' and duplicate_of is not null "
        f"group by 1 order by 2 desc, {keyed_sql(EXAMPLES, 'duplicate_of')}, 1 limit ?",
        [limit],
    )
    return total, dict(sizes)


def _links(tables: Tables) -> Links:
    """Returns the clusters, found by the workers; cached."""
    if LINKS not in tables.known:
        tables.known[LINKS] = _find(tables)
    links: Links = tables.known[LINKS]
    return links


def _find(tables: Tables) -> Links:
    """Has the workers deal and count the clusters, and removes the files that they exchanged."""
    assert tables.pieces is not None
    readers = max(1, tables.pieces // PIECES_A_READER)
    for _ in tables.each(_deal, readers):
        pass
    total = without = 0
    largest: list[Any] = []
    for answer in tables.numbered(_count, readers, tables.pieces, readers):
        total += answer["total"]
        without += answer["without"]
        largest = sorted([*largest, *map(tuple, answer["largest"])])[:MOST]
    store = tables.corpus.store
    list(at_once(store, store.remove, _files(tables, tables.pieces)))
    return Links(total, without, [(-n, p >> 32, p & 0xFFFFFFFF) for n, _, _, p in largest])


def _files(tables: Tables, pieces: int) -> list[str]:
    return [f"{tables.folder}/{LINKS}/{number:06d}" for number in range(pieces)]


def _deal(tables: Tables, readers: int) -> int:
    """Deals the kept ids of some shards, and the survivors of their duplicates, to the readers."""
    rows = np.empty(0, LINK)
    if "selection" in tables:
        selection = tables.sql("selection")
        links = tables.connection.execute(
            f"select {_key('id')}, 0::UTINYINT as kind from {selection} where state = 'kept' "
            f"union all select {_key('duplicate_of')}, "
            f"(case when contains(duplicate_of, ':') then {ELSEWHERE} else {OWN} end)::UTINYINT "
            f"from {selection} where state = 'duplicate' and duplicate_of is not null"
        ).fetchnumpy()
        rows = np.empty(len(links["high"]), LINK)
        for name in LINK.names or ():
            rows[name] = links[name]
        rows.sort(order=["high", "low", "kind", "place"])
    reader = spread(np.ascontiguousarray(rows["high"]), readers)
    name = f"{tables.folder}/{LINKS}/{tables.number:06d}"
    write_rows(tables.corpus.store, name, rows, reader, readers)
    return len(rows)


def _key(column: str) -> str:
    """Returns SQL for a text's keyed hash, as two numbers, and for the row's place."""
    digits = keyed_sql(EXAMPLES, column)
    parts = ((f"left({digits}, 16)", "high"), (f"right({digits}, 16)", "low"))
    numbers = ", ".join(f"('0x' || {part})::UBIGINT as {name}" for part, name in parts)
    return f'{numbers}, (shard::BIGINT << 32) | "row"::BIGINT as place'


def _count(tables: Tables, pieces: int, readers: int) -> dict[str, Any]:
    """Counts the clusters of one reader; `tables` is a bare piece with the reader's number."""
    files = _files(tables, pieces)
    rows = read_rows(tables.corpus.store, files, tables.number, readers, LINK)
    if not len(rows):
        return {"total": 0, "without": 0, "largest": []}
    rows = rows[np.lexsort((rows["place"], rows["kind"], rows["low"], rows["high"]))]
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (rows["high"][1:] != rows["high"][:-1]) | (rows["low"][1:] != rows["low"][:-1])
    starts = np.flatnonzero(fresh)
    kept = rows["kind"][starts] == 0  # of one id, a kept record comes first
    dropped, own = (
        np.add.reduceat(mine.astype(np.int64), starts)
        for mine in (rows["kind"] > 0, rows["kind"] == OWN)
    )
    clusters = np.flatnonzero(dropped)
    order = np.lexsort((rows["low"][starts], rows["high"][starts], -dropped))
    chosen = order[dropped[order] > 0][:MOST]
    lasts = np.append(starts[1:], len(rows)) - 1  # and a duplicate comes last
    return {
        "total": len(clusters),
        "without": int(own[~kept].sum()),
        "largest": [
            (
                -int(dropped[i]),
                int(rows["high"][starts[i]]),
                int(rows["low"][starts[i]]),
                int(rows["place"][lasts[i]]),
            )
            for i in chosen
        ],
    }


def _named(tables: Tables, largest: Sequence[tuple[int, int, int]]) -> dict[str, int]:
    """Returns survivor -> number of dropped records; survivors are read from a duplicate's row."""
    near = tables.near([shard for _, shard, _ in largest], "selection")
    if "selection" not in near:
        return {}
    shards = ", ".join(str(shard) for shard in sorted({shard for _, shard, _ in largest}))
    survivors = {
        (shard, row): name
        for shard, row, name in near.rows(
            f'select shard, "row", duplicate_of from {near.sql("selection")} '
            f"where shard in ({shards})"
        )
    }
    return {survivors[shard, row]: size for size, shard, row in largest}
