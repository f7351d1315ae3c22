"""Looking at a corpus: its state, one record's whole story, and what was kept."""

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import Table, parts_glob, parts_sql
from nucleus_data.errors import RequestError
from nucleus_data.runner.run import Run
from nucleus_data.stages.select.stage import published

SHOWN_NUMBERS = 4
SHOWN_PAIRS = 50


def status(run: Run) -> dict[str, Any]:
    """What a corpus holds: records, coverage of each table, selections, sets, runs."""
    corpus = run.corpus
    shards = corpus.shards()
    records = sum(len(corpus.records.covered(shard)) for shard in shards)
    tables = {}
    for name, hashed in sorted(run.tables.items()):
        if name == "records":
            continue
        table = Table(corpus.store, name, hashed)
        rows = sum(len(table.covered(shard)) for shard in table.shards())
        failed = sum(len(corpus.failed_rows(table, shard)) for shard in table.failed.shards())
        tables[name] = {"config_hash": hashed, "rows": rows, "failed_retryable": failed}
    selections, tiers = {}, {}
    for hashed in corpus.config_hashes("selection"):
        if made := published(corpus, hashed):
            selections[hashed] = made["states"]
            counts = sorted(made["counts"].items())
            tiers[hashed] = {n[5:]: count for n, count in counts if n.startswith("tier:")}
    sets = [
        f"sets/{name}/{hashed}"
        for name in corpus.store.list("sets")
        for hashed in corpus.store.list(f"sets/{name}")
        if corpus.store.exists(f"sets/{name}/{hashed}/manifest.parquet")
    ]
    return {
        "corpus": corpus.uri,
        "several_writers": corpus.several_writers,
        "shards": len(shards),
        "claimed_shards": len(corpus.store.list("claims")),
        "records": records,
        "tables": tables,
        "selections": selections,
        "tiers": tiers,
        "training_sets": sets,
        "runs": corpus.runs(),
    }


def status_lines(content: dict[str, Any]) -> Iterator[str]:
    """The status for people."""
    yield (
        f"{content['corpus']}: {content['records']:,} records in {content['shards']:,} image shards"
    )
    unfinished = content["claimed_shards"] - content["shards"]
    if unfinished > 0:
        yield f"  {unfinished} claimed shards are not ingested yet; run ingest again"
    if not content["several_writers"]:
        yield "  this store cannot refuse to overwrite: one writer at a time"
    for name, table in content["tables"].items():
        failed = (
            f", {table['failed_retryable']:,} failed (nucleus retry)"
            if table["failed_retryable"]
            else ""
        )
        yield f"  {name:<18} {table['config_hash']}  {table['rows']:>10,} rows{failed}"
    for hashed, states in content["selections"].items():
        counts = ", ".join(f"{count:,} {state}" for state, count in states.items() if count)
        yield f"  selection          {hashed}  {counts}"
        if tiers := content["tiers"][hashed]:
            counts = ", ".join(f"{count:,} {tier}" for tier, count in tiers.items())
            yield f"    kept by quality tier: {counts}"
    for folder in content["training_sets"]:
        yield f"  training set       {folder}"
    if content["runs"]:
        yield f"  last run           {content['runs'][-1]}"


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
        if name in ("records", "dedup"):
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


def export(run: Run, target: str) -> int:
    """Writes the kept records as Parquet or CSV.

    They come with id, source, key, and upstream columns such as the URL.

    Returns:
        How many.

    Raises:
        RequestError: The ending is neither .parquet nor .csv, or nothing can be written there.
    """
    if not target.endswith((".parquet", ".csv")):
        raise RequestError(
            f"cannot export to {target!r}; allowed: a path that ends in .parquet or .csv"
        )
    corpus = run.corpus
    records = corpus.table("records").set_alias("r")
    kept = corpus.table("selection", run.tables["selection"]).filter("state = 'kept'")
    joined = records.join(kept.project("shard, row").set_alias("k"), "shard, row")
    hidden = {"file", "offset", "size", "error", "detail", "retryable"}
    columns = ", ".join(f'"{c}"' for c in records.columns if c not in hidden)
    rows = joined.project(columns).order("shard, row")
    try:
        if target.endswith(".parquet"):
            rows.write_parquet(target, compression="zstd")
        else:
            rows.write_csv(target)
    except duckdb.IOException as error:
        raise RequestError(f"cannot export to {target!r}: {error}") from None
    return int(kept.count("*").fetchall()[0][0])


def _hex(text: str) -> str:
    if not text or len(text) > 32 or set(text.lower()) - set("0123456789abcdef"):
        raise RequestError(
            f"{text!r} is not a record id; ids are 32 hex digits, as in the table `records`"
        )
    return text.lower()


def _rows(table: Table, record: dict[str, Any]) -> list[dict[str, Any]]:
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
    if not corpus.config_hashes("dedup"):
        return []
    found = Table(corpus.store, "dedup", corpus.pinned("dedup"))
    if not found.part_names():  # compared, and no pair found
        return []
    pairs = corpus.table("dedup", found.config_hash)
    name = record["id"]
    mine = pairs.filter(f"id = '{name}' OR other_id = '{name}'")
    nearest = mine.order("distance, distance256, id, other_id").limit(SHOWN_PAIRS)
    shown: list[dict[str, Any]] = nearest.to_arrow_table().to_pylist()
    if len(shown) == SHOWN_PAIRS:
        shown.append({"pairs in all": mine.count("*").fetchall()[0][0]})
    return shown


def _places(corpus: Corpus, record_id: str) -> list[dict[str, Any]]:
    places = []
    for name in corpus.store.list("sets"):
        for hashed in corpus.store.list(f"sets/{name}"):
            folder = f"sets/{name}/{hashed}"
            pattern = parts_glob(corpus.store, f"{folder}/_plan").replace("'", "''")
            if not corpus.store.list(f"{folder}/_plan"):
                continue
            rows = corpus.connection().sql(
                f"SELECT captions, caption_sources, filename "
                f"FROM read_parquet('{pattern}', filename = true) "
                f"WHERE id = '{record_id}'"
            )
            table: pa.Table = rows.to_arrow_table()
            places += [{"set": folder, **row} for row in table.to_pylist()]
    return places
