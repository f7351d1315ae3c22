"""Spools the rows of imported files to disk, and joins them with the records in DuckDB."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.sql import literal
from nucleus_data.stages.caption.importing.files import Mapping, SourceFile, rows
from nucleus_data.stages.caption.prompts import visible
from nucleus_data.upstream.rows import UNREADABLE

ROWS = pa.schema(
    [
        ("number", pa.int64()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("name", pa.string()),
        ("caption", pa.string()),
        ("problem", pa.string()),
        ("detail", pa.string()),
    ]
)
MATCHES = pa.schema(
    [("shard", pa.int32()), ("row", pa.int32()), ("id", pa.string()), ("caption", pa.string())]
)
SPOOLED = 4096
MOST_CHARACTERS = 65_536
MOST_NAME = 4096
EXAMPLES = 3
SHOWN_CHARACTERS = 120
MEMORY_LIMIT = "1GB"
# Unicode's control characters, except tab, line feed and carriage return.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MATCHED = "matched"
URL = "source.url"  # column of the records


def spool(files: Sequence[SourceFile], mapping: Mapping, target: Path) -> int:
    """Writes the rows of all files to one Parquet file, each with its problem, if any.

    Returns:
        The number of rows.

    Raises:
        RequestError: A file is damaged.
    """
    number, held = 0, []
    with pq.ParquetWriter(target, ROWS, compression="zstd") as writer:
        for file in files:
            folder = file.folder if mapping.by == "key" else ""
            for raw in rows(file, mapping):
                about = {"number": number, "file": file.name, "line": raw.line}
                held.append({**about, **_checked(raw, folder)})
                number += 1
                if len(held) == SPOOLED:
                    writer.write_table(pa.Table.from_pylist(held, ROWS))
                    held = []
        writer.write_table(pa.Table.from_pylist(held, ROWS))
    return number


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """Opens a DuckDB database on disk, with limited memory."""
    spill = str(folder / "spill")
    config: dict[str, Any] = {"memory_limit": MEMORY_LIMIT, "temp_directory": spill, "threads": 2}
    return duckdb.connect(str(folder / "join.duckdb"), config=config)


def classify(
    connection: duckdb.DuckDBPyConnection, spooled: Path, corpus: Corpus, by: str, only: str | None
) -> None:
    """Joins rows with records; makes `states`, with each row's state, and `found`, the matches.

    Each statement has one join, sort or grouping, which has all of the memory: those of one
    statement share it, and 1 GB was too little for some ten million rows.

    Args:
        connection: Connection from `connect`.
        spooled: File from `spool`.
        corpus: The corpus.
        by: How rows refer to records: by `id`, `key` or `url`.
        only: Ingest source whose records to match; None for all.
    """
    records = corpus.records.sql()
    columns = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {records}").fetchall()}
    names = {"id": "[id]", "key": "[key]"}.get(by, "[key]")
    if by == "url" and URL in columns:
        names = f'list_distinct([key, CAST("{URL}" AS VARCHAR)])'
    # Several records may have the same URL, and thus the same picture. A key is only unique within
    # a source, so it is ambiguous if several records have it.
    alone = "count(*) = 1" if by == "key" else "true"
    name = "lower(name)" if by == "id" else "name"
    chosen = "WHERE source = $source" if only is not None else ""
    for statement, parameters in (
        (f"CREATE VIEW given AS SELECT * FROM read_parquet({literal(str(spooled))})", {}),
        (
            f"CREATE TABLE firsts AS SELECT {name} AS name, min(number) AS number FROM given "
            "WHERE problem IS NULL GROUP BY 1",
            {},
        ),
        (
            f"""CREATE TABLE hits AS SELECT f.number, r.shard, r.row, r.id, r.failed
                FROM firsts f JOIN (SELECT shard, row, id, error IS NOT NULL AS failed,
                                      unnest({names}) AS name FROM {records} {chosen}) r
                  ON r.name = f.name""",
            {"source": only} if only is not None else {},
        ),
        (
            f"CREATE TABLE each AS SELECT number, {alone} AS alone, bool_and(failed) AS failed "
            "FROM hits GROUP BY number",
            {},
        ),
        (
            "CREATE TABLE usable AS SELECT shard, row, id, number "
            "FROM hits JOIN (SELECT number FROM each WHERE alone) USING (number) WHERE NOT failed",
            {},
        ),
        (
            "CREATE TABLE found AS SELECT shard, row, any_value(id) AS id, min(number) AS number "
            "FROM usable GROUP BY shard, row",
            {},
        ),
        (
            f"""CREATE TABLE states AS SELECT number, CASE
                    WHEN max(problem) IS NOT NULL THEN max(problem)
                    WHEN NOT bool_or(first) THEN 'doubled'
                    WHEN bool_or(failed) IS NULL THEN 'unmatched'
                    WHEN NOT bool_or(alone) THEN 'ambiguous'
                    WHEN bool_or(failed) THEN 'no_picture'
                    WHEN NOT bool_or(used) THEN 'doubled'
                    ELSE '{MATCHED}' END AS state
                FROM (SELECT number, problem, false AS first, NULL AS alone, NULL AS failed,
                        false AS used FROM given
                      UNION ALL SELECT number, NULL, true, NULL, NULL, false FROM firsts
                      UNION ALL SELECT number, NULL, false, alone, failed, false FROM each
                      UNION ALL SELECT number, NULL, false, NULL, NULL, true FROM found)
                GROUP BY number""",
            {},
        ),
    ):
        connection.execute(statement, parameters)


def counts_by_state(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """Returns state -> number of rows, and examples."""
    counts = connection.execute(
        f"""SELECT state, count(*), min(number, {EXAMPLES}) FROM states
            GROUP BY state ORDER BY state <> '{MATCHED}', 2 DESC, state"""
    ).fetchall()
    states: dict[str, dict[str, Any]] = {}
    for state, count, numbers in counts:
        states[state] = {"rows": count}
        if state != MATCHED:
            rows = connection.execute(
                f"""SELECT file, line, left(name, {SHOWN_CHARACTERS}), coalesce(detail, '')
                    FROM given WHERE number IN ({", ".join(map(str, numbers))}) ORDER BY number"""
            ).fetchall()
            names = ("file", "line", "name", "detail")
            states[state]["examples"] = [dict(zip(names, row, strict=True)) for row in rows]
    return states


def matched(
    connection: duckdb.DuckDBPyConnection, spooled: Path, batch: int
) -> Iterator[pa.RecordBatch]:
    """Yields the matched captions, sorted by shard and row.

    Args:
        connection: Connection after `classify`.
        spooled: File from `spool`; the captions are written beside it, unsorted.
        batch: Rows that are yielded at a time.
    """
    target = spooled.with_name("matched.parquet")
    places = connection.sql("SELECT number, shard, row, id FROM found ORDER BY number")
    with pq.ParquetWriter(target, MATCHES, compression="zstd") as writer:
        for rows in _with_captions(places.to_arrow_reader(batch), spooled):
            writer.write_table(rows.cast(MATCHES))
    source = literal(str(target))
    relation = connection.sql(f"SELECT * FROM read_parquet({source}) ORDER BY shard, row")
    yield from relation.to_arrow_reader(batch)


def _with_captions(places: pa.RecordBatchReader, spooled: Path) -> Iterator[pa.Table]:
    """Yields the matches with their captions; both are in the order of `number`."""
    held = places.schema.empty_table()
    start, more = 0, True
    with pq.ParquetFile(spooled, pre_buffer=False) as file:
        for captions in file.iter_batches(SPOOLED, columns=["caption"]):
            end = start + len(captions)
            while more and (not held.num_rows or held["number"][-1].as_py() < end):
                batch = next(places, None)
                more = batch is not None
                held = pa.concat_tables([held, pa.Table.from_batches([batch])]) if more else held
            numbers = held["number"].to_numpy()
            count = int(numbers.searchsorted(end))
            of_batch = captions.column("caption").take(pa.array(numbers[:count] - start))
            yield held.slice(0, count).drop_columns("number").append_column("caption", of_batch)
            held, start = held.slice(count), end


def _checked(raw: Any, folder: str) -> dict[str, str | None]:
    """Returns a row's reference and caption, or its problem."""
    if raw.problem:
        return _wrong(UNREADABLE, raw.problem)
    name, caption = raw.values
    whole = isinstance(name, int) and not isinstance(name, bool)
    name, wrong = _text(str(name) if whole else name)
    name = name and name.strip()
    if wrong or not name or len(name) > MOST_NAME:
        return _wrong("no_name", wrong or ("its name is too long" if name else ""))
    name = folder + re.sub(r"^(\./)+", "", name)
    text, wrong = _text(caption)
    if wrong:
        return _wrong("not_text", wrong, name)
    if not text or not visible(text):
        return _wrong("empty", "", name)
    if len(text) > MOST_CHARACTERS:
        detail = f"it has {len(text):,} characters; allowed: {MOST_CHARACTERS:,}"
        return _wrong("too_long", detail, name)
    if control := CONTROLS.search(text):
        return _wrong("not_text", f"it has the control character U+{ord(control[0]):04X}", name)
    return {"name": name, "caption": text.strip()}


def _wrong(problem: str, detail: str, name: str | None = None) -> dict[str, str | None]:
    return {"problem": problem, "detail": detail, "name": name}


def _text(value: Any) -> tuple[str | None, str]:
    """Converts a value to (text, problem); the text is None if there is no value, or a problem."""
    if value is None:
        return None, ""
    if isinstance(value, bytes):
        try:
            return value.decode(), ""
        except UnicodeDecodeError as error:
            return None, f"it is not UTF-8: {error.reason} at byte {error.start}"
    if not isinstance(value, str):
        return None, f"it is of type {type(value).__name__}"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return None, f"it is not valid Unicode: {error.reason} at character {error.start}"
    return value, ""
