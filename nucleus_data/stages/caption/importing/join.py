"""Spools the rows of imported files to disk, and joins them with the records in DuckDB."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
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
SPOOLED = 4096
MOST_CHARACTERS = 65_536
MOST_NAME = 4096
EXAMPLES = 3
SHOWN_CHARACTERS = 120
MEMORY_LIMIT = "1GB"
# Unicode's control characters, except tab, line feed and carriage return.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MATCHED = "matched"


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
    if by == "url" and "source.url" in columns:
        names = 'list_distinct([key, CAST("source.url" AS VARCHAR)])'
    # Several records may have the same URL, and thus the same picture. A key is only unique within
    # a source, so it is ambiguous if several records have it.
    alone = "count(*) = 1" if by == "key" else "true"
    name = "lower(name)" if by == "id" else "name"
    chosen = "WHERE source = $source" if only is not None else ""
    connection.execute(f"CREATE VIEW given AS SELECT * FROM read_parquet({_literal(str(spooled))})")
    connection.execute(
        f"CREATE TABLE firsts AS SELECT {name} AS name, min(number) AS number FROM given "
        "WHERE problem IS NULL GROUP BY 1"
    )
    connection.execute(
        f"""CREATE TABLE hits AS SELECT f.number, r.shard, r.row, r.id, r.failed
            FROM firsts f JOIN (SELECT shard, row, id, error IS NOT NULL AS failed,
                                  unnest({names}) AS name FROM {records} {chosen}) r
              ON r.name = f.name""",
        {"source": only} if only is not None else {},
    )
    connection.execute(
        f"CREATE TABLE each AS SELECT number, {alone} AS alone, bool_and(failed) AS failed "
        "FROM hits GROUP BY number"
    )
    connection.execute(
        """CREATE TABLE found AS
            SELECT shard, row, any_value(id) AS id, min(number) AS number
            FROM hits JOIN (SELECT number FROM each WHERE alone) USING (number)
            WHERE NOT failed GROUP BY shard, row"""
    )
    connection.execute(
        f"""CREATE VIEW states AS
            SELECT g.*, CASE
                WHEN g.problem IS NOT NULL THEN g.problem
                WHEN f.number IS NULL THEN 'doubled'
                WHEN e.number IS NULL THEN 'unmatched'
                WHEN NOT e.alone THEN 'ambiguous'
                WHEN e.failed THEN 'no_picture'
                WHEN m.number IS NULL THEN 'doubled'
                ELSE '{MATCHED}' END AS state
            FROM given g LEFT JOIN (SELECT number FROM firsts) f USING (number)
              LEFT JOIN each e USING (number)
              LEFT JOIN (SELECT DISTINCT number FROM found) m USING (number)"""
    )


def counted(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """Returns state -> number of rows, and examples."""
    shown = f"left(name, {SHOWN_CHARACTERS})"
    found = connection.execute(
        f"""SELECT state, count(*), arg_min({{'file': file, 'line': line, 'name': {shown},
              'detail': coalesce(detail, '')}}, number, {EXAMPLES})
            FROM states GROUP BY state ORDER BY state <> '{MATCHED}', 2 DESC, state"""
    ).fetchall()
    return {
        state: {"rows": count, **({} if state == MATCHED else {"examples": examples})}
        for state, count, examples in found
    }


def matched(connection: duckdb.DuckDBPyConnection, batch: int) -> Iterator[pa.RecordBatch]:
    """Yields the matched captions, sorted by shard and row."""
    relation = connection.sql(
        "SELECT shard, row, id, caption FROM found JOIN given USING (number) ORDER BY shard, row"
    )
    yield from relation.to_arrow_reader(batch)


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
        said = f"it has {len(text):,} characters; allowed: {MOST_CHARACTERS:,}"
        return _wrong("too_long", said, name)
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
            return None, f"it is no UTF-8: {error.reason} at byte {error.start}"
    if not isinstance(value, str):
        return None, f"it is of type {type(value).__name__}"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return None, f"it is no Unicode: {error.reason} at character {error.start}"
    return value, ""


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
