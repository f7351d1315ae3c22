"""Joins captions tables to the images of a folder, by relative path.

This is the table that `ingest.captions` names, or otherwise every `metadata.csv`, `metadata.jsonl`
or `metadata.parquet` in the folder or below, as on dataset hubs. File names in a metadata file are
relative to the folder of that file.
"""

from pathlib import Path

import duckdb

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sql import identifier, literal
from nucleus_data.stages.ingest.listing.locate import Location, absolute
from nucleus_data.stages.ingest.listing.sql import (
    CAPTION_COLUMNS,
    caption_column,
    chosen_column,
    described,
    found_column,
    is_several,
    meeting,
    upstream_columns,
)
from nucleus_data.stages.ingest.listing.tables import read_tables
from nucleus_data.stages.ingest.listing.unread import read_through, reason
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.upstream.compressed import plain
from nucleus_data.upstream.parquet_damage import damaged_rows

FILE_COLUMNS = ("file", "file_name", "filename", "file_path", "path", "image")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "nucleus file"


def with_captions(
    query: str,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
) -> tuple[str, list[str]]:
    """Joins the captions table to the images by relative path.

    Args:
        query: SQL of the images; their paths are in `key`.
        settings: `captions` names the table; further settings name its columns.
        folder: For temporary files.
        connection: DuckDB.

    Returns:
        SQL of the images with the table's columns as `source.NAME`, and notes.

    Raises:
        RequestError: The table cannot be read, lacks a column, or names no image.
    """
    assert settings.captions is not None
    where = f"ingest.captions={settings.captions!r}"
    options, encoding = settings.storage_options, settings.caption_encoding
    path, texts = absolute(settings.captions), _texts(settings)
    table = read_tables([path], options, connection, "ingest.captions", folder, encoding, texts)
    try:
        read_through(connection, table.query)
    except duckdb.Error as error:  # a later query would report it as an error of the folder
        with plain(Store(path, options), "") as opened:
            lost = damaged_rows(opened)
        raise RequestError(f"{where} cannot be read: {reason(error)}{lost}") from error
    columns = list(described(connection, table.query))
    file = chosen_column(columns, settings.file_column, FILE_COLUMNS, where, "file_column")
    named_files = _with_files(table.query, file, "")
    joined, rows, matched, notes = _joined(query, named_files, settings, where, connection)
    if not matched:
        raise RequestError(
            f"{where}: none of its {rows} rows matches an image of the folder; column {file!r} "
            "must contain paths relative to ingest.source, with forward slashes"
        )
    return joined, [*table.notes("the captions table"), *notes]


def with_metadata(
    query: str,
    names: list[str],
    location: Location,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
) -> tuple[str, list[str], list[str]]:
    """Joins the metadata files of a folder to its images.

    Args:
        query: SQL of the images; their paths are in `key`.
        names: Names of the metadata files, relative to the folder.
        location: The folder.
        settings: `file_column`, `caption_column`.
        folder: For temporary files.
        connection: DuckDB.

    Returns:
        SQL of the images with the files' columns as `source.NAME`; notes; and the names of the
        files that are not used, as they can't be read or have no column of file names.

    Raises:
        RequestError: The files lack the column that `caption_column` requests.
    """
    tables, notes, others = [], [], []
    for number, name in enumerate(sorted(names)):
        place = folder / f"metadata-{number}"
        place.mkdir()
        where = f"{location.uri}/{name}"
        options, encoding = settings.storage_options, settings.caption_encoding
        path = location.root.url(name)
        try:
            table = read_tables(
                [path], options, connection, where, place, encoding, _texts(settings)
            )
            read_through(connection, table.query)
        # Nobody requested this file, so it does not keep the images from being listed.
        except (RequestError, duckdb.Error) as error:
            own = isinstance(error, RequestError)
            notes.append(str(error) if own else f"{where} cannot be read: {reason(error)}")
            others.append(name)
            continue
        kinds = described(connection, table.query)
        file = found_column(list(kinds), None, FILE_COLUMNS, where, "file_column")
        if settings.file_column in kinds:
            file = settings.file_column
        if file is None:
            others.append(name)
            continue
        notes += table.notes(name)
        # A list in one file may be a text in another, but a column has one type. So lists become
        # JSON text; captions are read from either.
        lists = [identifier(column) for column, kind in kinds.items() if is_several(kind)]
        texts = ", ".join(f"CAST(to_json({column}) AS VARCHAR) AS {column}" for column in lists)
        table_query = f"SELECT * {f'REPLACE ({texts}) ' if texts else ''}FROM ({table.query})"
        tables.append(_with_files(table_query, file, name.rpartition("/")[0]))
    if not tables:
        return query, notes, others
    whole = " UNION ALL BY NAME ".join(f"({table})" for table in meeting(connection, tables))
    where = ", ".join(sorted(set(names) - set(others)))
    joined, _, matched, more = _joined(query, whole, settings, where, connection)
    return joined, [f"{matched} images have a row in {where}", *notes, *more], others


def _texts(settings: IngestSettings) -> list[str]:
    """Returns the columns whose values are read as text even if they look like numbers."""
    asked = [name for name in (settings.caption_column, settings.file_column) if name]
    return [*CAPTION_COLUMNS, *FILE_COLUMNS, *asked]


def _with_files(table: str, file: str, folder: str) -> str:
    """Returns SQL of a table with file names relative to the source, as the column `_FILE`."""
    prefix = literal(f"{folder}/" if folder else "")
    return (
        f"SELECT {prefix} || regexp_replace(CAST({identifier(file)} AS VARCHAR), '^(\\./)+', '') "
        f"AS {identifier(_FILE)}, * EXCLUDE ({identifier(file)}) FROM ({table})"
    )


def _joined(
    query: str,
    table: str,
    settings: IngestSettings,
    where: str,
    connection: duckdb.DuckDBPyConnection,
) -> tuple[str, int, int, list[str]]:
    """Joins a table with the column `_FILE` to the images.

    Returns:
        SQL of the images with the table's columns; the number of the table's rows; the number of
        files in it that are images; and notes.
    """
    caption = caption_column(described(connection, table), settings.caption_column, where)
    found = upstream_columns(connection, table, special={"caption": caption}, leave_out=[_FILE])
    # If several rows name a file, the first one counts.
    first = (
        f"SELECT {identifier(_FILE)} AS file{', ' + found.select if found.select else ''} "
        f"FROM ({table}) QUALIFY row_number() OVER (PARTITION BY file) = 1"
    )
    values = [name for name in described(connection, first) if name != "file"]
    joined = (
        f"SELECT i.*{''.join(f', c.{identifier(name)}' for name in values)} "
        f"FROM ({query}) i LEFT JOIN ({first}) c ON c.file = i.key"
    )
    counts = connection.execute(
        f"SELECT (SELECT count(*) FROM ({table})), (SELECT count(*) FROM ({first})), "
        f"(SELECT count(*) FROM ({first}) c SEMI JOIN ({query}) i ON c.file = i.key)"
    ).fetchone()
    assert counts is not None
    rows, files, matched = counts
    notes = []
    if rows > files:
        notes.append(
            f"{rows - files} rows of the captions table repeat a file name (the first row is used)"
        )
    if files > matched:
        notes.append(f"{files - matched} rows of the captions table match no image of the folder")
    return joined, rows, matched, [*notes, *found.notes()]
