"""For whom duplicates were dropped: the one question of a page that no shard can answer alone.

A duplicate and the record that stays are of any two shards. Of few shards DuckDB joins them; of
very many, each piece deals its kept ids and its duplicates' survivors, as numbers, to readers by
these numbers (`corpus.shuffle`), and a reader counts its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.shuffle import read_rows, spread, write_rows
from nucleus_data.hashing import keyed_sql
from nucleus_data.pages.tables import Tables

EXAMPLES = "report"  # of the keyed order that chooses what is shown
MOST = 100  # clusters that readers name
PIECES_A_READER = 6
OWN, ELSEWHERE = 1, 2  # duplicates of a record of this corpus, and of another one; 0 is a kept one
LINK = np.dtype([("high", "<u8"), ("low", "<u8"), ("place", "<i8"), ("kind", "u1")])
LINKS = "links"


@dataclass(frozen=True)
class Links:
    """The clusters of all shards.

    Attributes:
        total: How many there are.
        without: Duplicates that name no kept record.
        largest: Of the largest ones how many were dropped, and the place (shard, row) of one.
    """

    total: int
    without: int
    largest: Sequence[tuple[int, int, int]]


def without_survivor(tables: Tables) -> int:
    """How many duplicates name no record that is kept."""
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
    """How many clusters there are; and by survivor, how many were dropped for it, of the largest.

    Args:
        tables: The run's, with a selection.
        limit: How many are named.
    """
    if tables.pieces is not None:
        found = _links(tables)
        return found.total, _named(tables, found.largest[: min(limit, MOST)])
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
    """The clusters by all workers; asked once."""
    if LINKS not in tables.known:
        tables.known[LINKS] = _find(tables)
    found: Links = tables.known[LINKS]
    return found


def _find(tables: Tables) -> Links:
    assert tables.pieces is not None
    readers = max(1, tables.pieces // PIECES_A_READER)
    for _ in tables.each(_deal, readers):
        pass
    total = without = 0
    largest: list[Any] = []
    for found in tables.numbered(_count, readers, tables.pieces, readers):
        total += found["total"]
        without += found["without"]
        largest = sorted([*largest, *map(tuple, found["largest"])])[:MOST]
    store = tables.corpus.store
    list(at_once(store, store.remove, _files(tables, tables.pieces)))
    return Links(total, without, [(-n, p >> 32, p & 0xFFFFFFFF) for n, _, _, p in largest])


def _files(tables: Tables, pieces: int) -> list[str]:
    return [f"{tables.folder}/{LINKS}/{number:06d}" for number in range(pieces)]


def _deal(tables: Tables, readers: int) -> int:
    """Leaves the kept ids of some shards, and the survivors that its duplicates name."""
    rows = np.empty(0, LINK)
    if "selection" in tables:
        selection = tables.sql("selection")
        found = tables.connection.execute(
            f"select {_key('id')}, 0::UTINYINT as kind from {selection} where state = 'kept' "
            f"union all select {_key('duplicate_of')}, "
            f"(case when contains(duplicate_of, ':') then {ELSEWHERE} else {OWN} end)::UTINYINT "
            f"from {selection} where state = 'duplicate' and duplicate_of is not null"
        ).fetchnumpy()
        rows = np.empty(len(found["high"]), LINK)
        for name in LINK.names or ():
            rows[name] = found[name]
        rows.sort(order=["high", "low", "kind", "place"])
    reader = spread(np.ascontiguousarray(rows["high"]), readers)
    name = f"{tables.folder}/{LINKS}/{tables.number:06d}"
    write_rows(tables.corpus.store, name, rows, reader, readers)
    return len(rows)


def _key(column: str) -> str:
    """SQL of a text as two numbers, in the keyed order of what is shown, and of the row's place."""
    digits = keyed_sql(EXAMPLES, column)
    parts = ((f"left({digits}, 16)", "high"), (f"right({digits}, 16)", "low"))
    numbers = ", ".join(f"('0x' || {part})::UBIGINT as {name}" for part, name in parts)
    return f'{numbers}, (shard::BIGINT << 32) | "row"::BIGINT as place'


def _count(tables: Tables, pieces: int, readers: int) -> dict[str, Any]:
    """Counts the clusters of one reader."""
    files = _files(tables, pieces)
    rows = read_rows(tables.corpus.store, files, tables.number, readers, LINK)
    if not len(rows):
        return {"total": 0, "without": 0, "largest": []}
    rows = rows[np.lexsort((rows["place"], rows["kind"], rows["low"], rows["high"]))]
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (rows["high"][1:] != rows["high"][:-1]) | (rows["low"][1:] != rows["low"][:-1])
    starts = np.flatnonzero(fresh)
    kept = rows["kind"][starts] == 0  # a kept one comes first
    dropped, own = (
        np.add.reduceat(mine.astype(np.int64), starts)
        for mine in (rows["kind"] > 0, rows["kind"] == OWN)
    )
    clusters = np.flatnonzero(dropped)
    order = np.lexsort((rows["low"][starts], rows["high"][starts], -dropped))
    chosen = order[dropped[order] > 0][:MOST]
    lasts = np.append(starts[1:], len(rows)) - 1  # and a duplicate last
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
    """The survivors' names, as the places of duplicates have them."""
    near = tables.near([shard for _, shard, _ in largest], "selection")
    if "selection" not in near:
        return {}
    shards = ", ".join(str(shard) for shard in sorted({shard for _, shard, _ in largest}))
    found = {
        (shard, row): name
        for shard, row, name in near.rows(
            f'select shard, "row", duplicate_of from {near.sql("selection")} '
            f"where shard in ({shards})"
        )
    }
    return {found[shard, row]: size for size, shard, row in largest}
