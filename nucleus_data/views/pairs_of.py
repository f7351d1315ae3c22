"""For `nucleus explain`: the pairs of duplicates that contain a record."""

from collections.abc import Mapping, Sequence
from typing import Any

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.tables import Table
from nucleus_data.errors import RequestError
from nucleus_data.stages.dedup.stage import TABLE as PAIRS

SHOWN_PAIRS = 50
Place = tuple[int | None, int | None]


def pairs_of(corpus: Corpus, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the nearest pairs that contain a record, at most `SHOWN_PAIRS`."""
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
    # Members of crowds are listed without distances, which are no pairs.
    mine = corpus.rows(found).filter(f"distance IS NOT NULL AND ({' OR '.join(sides)})")
    nearest = mine.order("distance, distance256, id, other_id").limit(SHOWN_PAIRS)
    shown: list[dict[str, Any]] = nearest.to_arrow_table().to_pylist()
    keys = _keys(corpus, [other_place(pair, record) for pair in shown])
    for pair in shown:
        other = other_place(pair, record)
        if other in keys:
            pair["other_key"] = keys[other]
    if len(shown) == SHOWN_PAIRS:
        shown.append({"pairs in all": mine.count("*").fetchall()[0][0]})
    return shown


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
