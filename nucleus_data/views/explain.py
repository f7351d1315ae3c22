"""`nucleus explain`: one record's whole story."""

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table, parts_sql
from nucleus_data.errors import RequestError
from nucleus_data.sets.layout import all_sets
from nucleus_data.stages.dedup.stage import TABLE as PAIRS

SHOWN_NUMBERS = 4
SHOWN_PAIRS = 50


def explain(corpus: Corpus, record_id: str) -> dict[str, Any]:
    """One record's whole story: every table's row about it, by table and config hash.

    Args:
        corpus: The corpus.
        record_id: The id, or its beginning if no other id begins so.

    Raises:
        RequestError: No record has this id, or several have.
    """
    found = (
        corpus.table("records")
        .filter(duckdb.SQLExpression(f"starts_with(id, '{_hex(record_id)}')"))
        .limit(2)
        .to_arrow_table()
    )
    if found.num_rows != 1:
        many = "several records begin" if found.num_rows else "no record begins"
        raise RequestError(
            f"{many} with id {record_id!r}; ids are 32 hex digits, as in the table `records`"
        )
    record = found.to_pylist()[0]
    story: dict[str, Any] = {"record": {k: v for k, v in record.items() if v is not None}}
    for name in corpus.store.list("tables"):
        if name in ("records", PAIRS):
            continue
        for hashed in corpus.config_hashes(name):
            rows = _rows(Table(corpus.store, name, hashed), record)
            if rows:
                story[f"{name}/{hashed}"] = rows[0]
    story["earlier downloads"] = _earlier(corpus, record)
    story["duplicates"] = _pairs(corpus, record)
    story["training sets"] = _places(corpus, record["id"])
    return story


def explain_lines(story: dict[str, Any]) -> Iterator[str]:
    """The story for people."""
    for part, content in story.items():
        if not content:
            continue
        yield part
        for item in content if isinstance(content, list) else [content]:
            for key, value in item.items():
                if key not in ("shard", "row", "id") or part in ("record", "duplicates"):
                    yield f"  {key:<22} {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) > SHOWN_NUMBERS and isinstance(value[0], float):
        first = ", ".join(f"{number:.4g}" for number in value[:SHOWN_NUMBERS])
        return f"[{first}, ...] ({len(value)} numbers)"
    return json.dumps(value, default=str)


def _hex(text: str) -> str:
    if not text or len(text) > 32 or set(text.lower()) - set("0123456789abcdef"):
        raise RequestError(
            f"{text!r} is not a record id; ids are 32 hex digits, as in the table `records`"
        )
    return text.lower()


def _rows(table: Table, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The table's row about a record, or the failure that may pass."""
    for source, kind in ((table, None), (table.failed, "failed, retryable")):
        rows = source.read(record["shard"])
        if rows is None:
            continue
        mine = rows.filter(pc.equal(rows.column("row"), record["row"])).to_pylist()
        if mine:
            return [{**mine[0], "state": kind} if kind else mine[0]]
    return []


def _earlier(corpus: Corpus, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The record's failed downloads before the one that counts, oldest first."""
    if not corpus.records.retried.part_names():
        return []
    rows = corpus.connection().sql(
        "SELECT shard, row, error, detail "
        f"FROM {parts_sql(corpus.store, corpus.records.folder)} "
        f"WHERE id = '{record['id']}' AND shard <> {record['shard']} ORDER BY shard"
    )
    table: pa.Table = rows.to_arrow_table()
    return table.to_pylist()


def _pairs(corpus: Corpus, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The nearest pairs that a record is in, at most `SHOWN_PAIRS`."""
    if not corpus.config_hashes(PAIRS):
        return []
    found = Table(corpus.store, PAIRS, corpus.pinned(PAIRS))
    if not found.part_names():  # compared, and no pair found
        return []
    pairs = corpus.table(PAIRS, found.config_hash)
    name = record["id"]
    mine = pairs.filter(f"id = '{name}' OR other_id = '{name}'")
    nearest = mine.order("distance, distance256, id, other_id").limit(SHOWN_PAIRS)
    shown: list[dict[str, Any]] = nearest.to_arrow_table().to_pylist()
    if len(shown) == SHOWN_PAIRS:
        shown.append({"pairs in all": mine.count("*").fetchall()[0][0]})
    return shown


def _places(corpus: Corpus, record_id: str) -> list[dict[str, Any]]:
    """The training sets that a record is in, with its captions there; read from their plans."""
    places = []
    for folder in all_sets(corpus.store):
        if not folder.plans():
            continue
        pattern = folder.plans_glob().replace("'", "''")
        rows = corpus.connection().sql(
            f"SELECT captions, caption_sources, filename "
            f"FROM read_parquet('{pattern}', filename = true) "
            f"WHERE id = '{record_id}'"
        )
        table: pa.Table = rows.to_arrow_table()
        places += [{"set": folder.path, **row} for row in table.to_pylist()]
    return places
