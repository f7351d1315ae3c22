"""For `nucleus explain`: the record that was kept instead of a duplicate, and their distance."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.runs import plans
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.stages.dedup.gather import READS
from nucleus_data.stages.select.plan import TABLE as SELECTION
from nucleus_data.views.pairs_of import other_place

NAMED = ("id", "key", "sha256")
DISTANCES = ("distance", "distance256", "exact")


def survivor(
    corpus: Corpus, record: Mapping[str, Any], kept: str, pairs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns the kept record's key, and its distances to the duplicate, if known.

    Two members of a class of equal pictures need not be a pair; then their hashes are compared.

    Args:
        corpus: The corpus.
        record: The duplicate's row of `records`.
        kept: The column `duplicate_of`: an id, possibly of another corpus (`old:ID`).
        pairs: The pairs that contain the duplicate.
    """
    dedup = _settings(corpus)
    name, elsewhere, ident = kept.rpartition(":")
    home, found = corpus, {}
    if elsewhere:
        uri = dedup.get("against", {}).get(name)
        found["kept_in"] = uri or name
        if uri is None:
            return found | _of_pair(pairs, kept)
        try:
            home = Corpus(uri, corpus.store.storage_options)
        except (CorpusError, RequestError):  # gone since, or not to be read from here
            return found | _of_pair(pairs, kept)
    other = _paired(corpus, record, ident, pairs) if home is corpus else {}
    other = other or _record(home, ident)
    if other:
        found["kept_key"] = other["key"]
    near = _of_pair(pairs, kept)
    if near or not other:
        return found | near
    return found | _compared(corpus, record, home, other, dedup.get("hashes", "upright"))


def _of_pair(pairs: Sequence[Mapping[str, Any]], kept: str) -> dict[str, Any]:
    pair = next((p for p in pairs if kept in (p.get("id"), p.get("other_id"))), {})
    return {name: pair[name] for name in DISTANCES if name in pair}


def _settings(corpus: Corpus) -> dict[str, Any]:
    """Returns the section `dedup` of the newest run that used the selection; empty if unknown."""
    try:
        selection = corpus.pinned(SELECTION)
    except RequestError:
        return {}
    for _, plan in plans(corpus.store):
        tables, config = plan.get("tables"), plan.get("config")
        if isinstance(tables, dict) and tables.get(SELECTION) == selection:
            found = config.get("dedup") if isinstance(config, dict) else None
            return found if isinstance(found, dict) else {}
    return {}


def _paired(
    corpus: Corpus, record: Mapping[str, Any], ident: str, pairs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns the kept record by its place in a pair, which needs no search by id; else empty."""
    for pair in pairs:
        if ident in (pair.get("id"), pair.get("other_id")):
            shard, row = other_place(pair, record)
            rows = None if shard is None else corpus.records.read(shard, ["shard", "row", *NAMED])
            for found in rows.to_pylist() if rows is not None else ():
                if (found["row"], found.pop("id")) == (row, ident):
                    kept: dict[str, Any] = found
                    return kept
    return {}


def _record(corpus: Corpus, ident: str) -> dict[str, Any]:
    if not corpus.records.whole_parts():
        return {}
    same = duckdb.ColumnExpression("id") == duckdb.ConstantExpression(ident)
    rows = corpus.rows(corpus.records).filter(same).project("shard, row, key, sha256")
    found: list[dict[str, Any]] = rows.limit(1).to_arrow_table().to_pylist()
    return found[0] if found else {}


def _compared(
    corpus: Corpus,
    record: Mapping[str, Any],
    home: Corpus,
    other: Mapping[str, Any],
    hashes: str,
) -> dict[str, Any]:
    """Returns the distances of two records by their stored hashes; empty if one has none."""
    (table, columns) = next((t, c) for t, c in READS[hashes].items() if "phash" in c)
    try:
        hashed = corpus.pinned(table)
    except RequestError:
        return {}
    sides = []
    for place, where in ((record, corpus), (other, home)):
        rows = where.at(table, hashed).read(place["shard"], ["row", *columns.values()])
        mine = [r for r in rows.to_pylist() if r["row"] == place["row"]] if rows else []
        if not mine or mine[0][columns["hash256"]] is None:
            return {}
        sides.append(mine[0])
    short = [side[columns["phash"]] for side in sides]
    long = [int.from_bytes(side[columns["hash256"]]) for side in sides]
    return {
        "distance": (short[0] ^ short[1]).bit_count(),
        "distance256": (long[0] ^ long[1]).bit_count(),
        "exact": record["sha256"] == other["sha256"],
    }
