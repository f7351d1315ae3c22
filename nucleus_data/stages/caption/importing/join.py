"""Rows of imported files, spooled to the disk and joined with the records in DuckDB."""

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
# Of Unicode's control characters, those that lay a text out.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MATCHED = "matched"


def spool(files: Sequence[SourceFile], mapping: Mapping, target: Path) -> int:
    """Writes the rows of files to one Parquet file, each with what is wrong with it.

    Returns:
        How many rows there are.

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
    """A database on the disk, of little memory."""
    spill = str(folder / "spill")
    config: dict[str, Any] = {"memory_limit": MEMORY_LIMIT, "temp_directory": spill, "threads": 2}
    return duckdb.connect(str(folder / "join.duckdb"), config=config)


def classify(
    connection: duckdb.DuckDBPyConnection, spooled: Path, corpus: Corpus, by: str, only: str | None
) -> None:
    """Joins rows with records: the table `states` has each row's state, `found` the captions.

    Args:
        connection: From `connect`.
        spooled: From `spool`.
        corpus: The corpus.
        by: What names a record: `id`, `key` or `url`.
        only: Only records of this ingest source.
    """
    records = corpus.records.sql()
    columns = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {records}").fetchall()}
    names = {"id": "[id]", "key": "[key]"}.get(by, "[key]")
    if by == "url" and "source.url" in columns:
        names = 'list_distinct([key, CAST("source.url" AS VARCHAR)])'
    # One URL may be of several records, and is then the same picture; a key is of one a source.
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
    """State -> how many rows are in it, and the first of them."""
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
    """The captions of records, by shard and row."""
    relation = connection.sql(
        "SELECT shard, row, id, caption FROM found JOIN given USING (number) ORDER BY shard, row"
    )
    yield from relation.to_arrow_reader(batch)


def _checked(raw: Any, folder: str) -> dict[str, str | None]:
    """A row's name and caption, or what is wrong with it."""
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
    """A value as text, or what it is instead; None for no value."""
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
