"""For `nucleus explain`: the pairs of duplicates that contain a record."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.stages.dedup.stage import TABLE as PAIRS

SHOWN_PAIRS = 50
Place = tuple[int | None, int | None]
Entry = dict[str, Any]


def pairs_of(corpus: Corpus, record: Entry) -> list[Entry]:
    """Returns the nearest pairs that contain a record, at most `SHOWN_PAIRS`.

    If there are more, or if the record is in a crowd (of whose members not all pairs are stored),
    a last entry says so.
    """
    if not corpus.config_hashes(PAIRS):
        return []
    try:
        hashed = corpus.pinned(PAIRS)
    except RequestError as error:
        return [{"problem": str(error)}]
    found = Table(corpus.store, PAIRS, hashed)
    if not found.whole_parts():  # compared, and no pair found
        return []
    # Filtered by numbers, which take a tenth of the bytes of ids to read.
    shard, row = place_of(record)
    sides = (f"({side}shard = {shard} AND {side}row = {row})" for side in ("", "other_"))
    rows = corpus.rows(found)
    # Members of crowds are listed without distances, which are no pairs.
    mine = rows.filter(f"distance IS NOT NULL AND ({' OR '.join(sides)})")
    nearest = mine.order("distance, distance256, id, other_id").limit(SHOWN_PAIRS)
    shown: list[Entry] = nearest.to_arrow_table().to_pylist()
    keys = _keys(corpus, [other_place(pair, record) for pair in shown])
    for pair in shown:
        other = other_place(pair, record)
        if other in keys:
            pair["other_key"] = keys[other]
    if len(shown) == SHOWN_PAIRS:
        shown.append({"pairs in all": mine.count("*").fetchall()[0][0]})
    return shown + _crowd(rows, shard, row)


def _crowd(rows: duckdb.DuckDBPyRelation, shard: int | None, row: int | None) -> list[Entry]:
    """Returns how many near, unequal pictures the record's crowd has; empty if it is in none."""
    listed = rows.filter("distance IS NULL")
    # Each block has its own crowds, which are listed beside their first record.
    of_record = listed.filter(f"other_shard = {shard} AND other_row = {row}")
    firsts = of_record.select("shard, row").fetchall()
    if not firsts:
        return []
    largest = max(
        listed.filter(f"shard = {first[0]} AND row = {first[1]}").count("*").fetchall()[0][0]
        for first in firsts
    )
    return [{"crowd": f"one of {largest:,} near pictures, of which not all pairs are stored"}]


def other_place(pair: Mapping[str, Any], record: Mapping[str, Any]) -> Place:
    """Returns (shard, row) of a pair's other record; Nones for a record of another corpus."""
    first = pair["shard"], pair["row"]
    return (pair["other_shard"], pair["other_row"]) if first == place_of(record) else first


def place_of(record: Mapping[str, Any]) -> Place:
    """Returns (shard, row) of a record."""
    return record["shard"], record["row"]


def _keys(corpus: Corpus, places: Sequence[Place]) -> dict[Place, str]:
    """Returns (shard, row) -> key of records, reading only their shards."""
    wanted: dict[int, set[int]] = {}
    for shard, row in places:
        if shard is not None and row is not None:
            wanted.setdefault(shard, set()).add(row)

    def one(shard: int) -> dict[Place, str]:
        rows = corpus.records.read(shard, ["row", "key"])
        found = rows.to_pylist() if rows is not None else []
        return {(shard, r["row"]): r["key"] for r in found if r["row"] in wanted[shard]}

    found: dict[Place, str] = {}
    for mine in at_once(corpus.store, one, sorted(wanted)):
        found |= mine
    return found
