"""The captions table of a folder (`ingest.captions`), joined to its images by relative path."""

from pathlib import Path

import duckdb

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.locate import absolute
from nucleus_data.stages.ingest.listing.sql import (
    caption_column,
    chosen_column,
    described,
    named,
    upstream_columns,
)
from nucleus_data.stages.ingest.listing.tables import read_tables
from nucleus_data.stages.ingest.settings import IngestSettings

FILE_COLUMNS = ("file", "file_name", "filename", "file_path", "path", "image")


def with_captions(
    query: str,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
) -> tuple[str, list[str]]:
    """Joins the captions table to the images by relative path.

    Args:
        query: SQL of the images, by `key`.
        settings: The captions table, and its columns.
        folder: For temporary files.
        connection: DuckDB.

    Returns:
        SQL of the images with the table's columns as `source.NAME`, and notes.

    Raises:
        RequestError: The table cannot be read, lacks a column, or names no image.
    """
    assert settings.captions is not None
    where = f"ingest.captions={settings.captions!r}"
    upstream = read_tables(
        [absolute(settings.captions)],
        settings.storage_options,
        connection,
        "ingest.captions",
        folder,
        settings.caption_encoding,
    )
    table = upstream.query
    kinds = described(connection, table)
    columns = list(kinds)
    file = chosen_column(columns, settings.file_column, FILE_COLUMNS, where, "file_column")
    caption = caption_column(kinds, settings.caption_column, where)
    found = upstream_columns(connection, table, special={"caption": caption}, leave_out=[file])
    # A file that is named twice takes its first row.
    first = (
        f"SELECT regexp_replace(CAST({named(file)} AS VARCHAR), '^(\\./)+', '') AS file"
        f"{', ' + found.select if found.select else ''} FROM ({table}) "
        "QUALIFY row_number() OVER (PARTITION BY file) = 1"
    )
    values = [name for name in described(connection, first) if name != "file"]
    joined = (
        f"SELECT i.*{''.join(f', c.{named(name)}' for name in values)} "
        f"FROM ({query}) i LEFT JOIN ({first}) c ON c.file = i.key"
    )
    counts = connection.execute(
        f"SELECT (SELECT count(*) FROM ({table})), (SELECT count(*) FROM ({first})), "
        f"(SELECT count(*) FROM ({first}) c SEMI JOIN ({query}) i ON c.file = i.key)"
    ).fetchone()
    assert counts is not None
    rows, files, matched = counts
    if not matched:
        raise RequestError(
            f"{where}: none of its {rows} rows names an image of the folder in column {file!r}; "
            "names are paths relative to ingest.source, with forward slashes"
        )
    notes = upstream.notes("the captions table")
    if rows > files:
        notes.append(
            f"{rows - files} rows of the captions table name a file again (the first counts)"
        )
    if files > matched:
        notes.append(f"{files - matched} rows of the captions table name no image of the folder")
    return joined, [*notes, *found.notes()]
