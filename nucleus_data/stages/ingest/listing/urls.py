"""Lists the rows of URL lists: Parquet, CSV, TSV or JSON Lines, or text with one URL per line.

A record's key is its URL, `#`, and the number of the URL's earlier occurrences in the list. All
other columns become `source.NAME`. A user name and password in a URL are neither stored nor sent.
A row of a CSV or a line of JSON that can't be read is a record without a picture, with the reason
`damaged_row` and its file and line.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sql import identifier, literal
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.spool import LOCATION, Listing, Spool
from nucleus_data.stages.ingest.listing.sql import (
    CAPTION_COLUMNS,
    caption_column,
    chosen_column,
    described,
    upstream_columns,
)
from nucleus_data.stages.ingest.listing.tables import read_tables, utf8_copy
from nucleus_data.stages.ingest.listing.unread import reason
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.upstream.compressed import plain_copy, uncompressed
from nucleus_data.upstream.damaged_row import DamagedRow

URL_COLUMNS = ("url", "image_url", "urls", "link")
DAMAGED = "damaged_row"
MOST_KEY = 1000  # maximum length, in characters, of the key of a damaged row
# A user name and password before the host; a pattern for both DuckDB and Python.
CREDENTIALS = r"^(\s*[A-Za-z][A-Za-z0-9+.-]*://)[^/?#\\]*@"


def list_urls(
    location: Location,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    limit: int | None,
) -> Listing:
    """Lists the URLs of a list, in its order.

    Args:
        location: The files of the list.
        settings: `url_column`, `caption_column`, `columns` and `caption_encoding` are read.
        folder: For temporary files.
        connection: DuckDB.
        limit: Maximum number of readable rows; None for no limit.

    Raises:
        RequestError: A file can't be read, or there is no URL column or no row.
    """
    text = [uncompressed(name).lower().endswith(".txt") for name in location.files]
    if all(text):
        spool = Spool(folder / "urls.parquet", LOCATION)
        with spool:
            spool.add_all(_lines(location, settings, folder), limit)
        query = f'SELECT *, url AS "source.url" FROM read_parquet({literal(str(spool.path))})'
        listing = Listing(query, separator="#", number_all=True)
    elif any(text):
        raise RequestError(
            f"ingest.source={settings.source!r} matches both text files and tables; select one kind"
        )
    else:
        listing = _table(location, settings, folder, connection, limit)
    if connection.execute(f"SELECT 1 FROM ({listing.query}) LIMIT 1").fetchone() is None:
        raise RequestError(f"ingest.source={settings.source!r}: the URL list has no rows")
    return listing


def _table(
    location: Location,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    limit: int | None,
) -> Listing:
    paths = [location.root.url(name) for name in location.files]
    where = f"ingest.source={settings.source!r}"
    options, encoding = settings.storage_options, settings.caption_encoding
    asked = [name for name in (settings.caption_column, settings.url_column) if name]
    texts = [*CAPTION_COLUMNS, *URL_COLUMNS, *asked]
    table = read_tables(
        paths, options, connection, where, folder, encoding, texts, settings.columns
    )
    kinds = described(connection, table.query)
    notes = table.notes("the list")
    try:
        url = chosen_column(list(kinds), settings.url_column, URL_COLUMNS, where, "url_column")
    except RequestError as error:
        raise RequestError(". ".join([str(error), *notes])) from None
    rows = table.query
    if kinds[url] == "VARCHAR":
        clean = f"regexp_replace({identifier(url)}, {literal(CREDENTIALS)}, '\\1')"
        rows = f"SELECT * REPLACE ({clean} AS {identifier(url)}) FROM ({rows})"
    caption = caption_column(kinds, settings.caption_column, where)
    found = upstream_columns(connection, rows, special={"url": url, "caption": caption})
    value = f"trim(CAST({identifier(url)} AS VARCHAR))"
    ours = {"key": f"coalesce({value}, '')", "url": value}
    types = {"int64": "BIGINT", "binary": "BLOB", "bool": "BOOLEAN", "string": "VARCHAR"}
    location_columns = [
        f"CAST({ours.get(field.name, 'NULL')} AS {types[str(field.type)]}) "
        f"AS {identifier(field.name)}"
        for field in LOCATION
    ]
    ending = "" if limit is None else f" LIMIT {limit}"
    query = f"SELECT {', '.join(location_columns)}, {found.select} FROM ({rows}){ending}"
    if table.damaged:
        if connection.execute(f"SELECT 1 FROM ({table.query}) LIMIT 1").fetchone() is None:
            raise RequestError(f"{where}: the list has no readable rows. {notes[0]}")
        query = f"({query}) UNION ALL BY NAME ({_damaged(table.damaged, folder)})"
    return Listing(query, separator="#", number_all=True, notes=[*notes, *found.notes()])


def _damaged(rows: list[DamagedRow], folder: Path) -> str:
    """Returns SQL of records for the rows that can't be read; their keys are the rows' texts."""
    spool = Spool(folder / "damaged.parquet", LOCATION)
    with spool:
        for row in rows:
            error = {"error": DAMAGED, "detail": str(row), "retryable": False}
            text = re.sub(r"://[^/?#\s]*@", "://", row.text)
            spool.add({"key": text[:MOST_KEY], **error})
    return f"SELECT * FROM read_parquet({literal(str(spool.path))})"


def _lines(location: Location, settings: IngestSettings, folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the URLs of text files, one per line, ignoring empty lines.

    Raises:
        RequestError: A file can't be read.
    """
    for number, name in enumerate(location.files):
        try:
            yield from _lines_of(location.root, name, settings.caption_encoding, folder, number)
        except OSError as error:
            where = f"ingest.source={settings.source!r}"
            raise RequestError(f"{where}: {name!r} cannot be read: {reason(error)}") from error


def _lines_of(
    root: Store, name: str, encoding: str | None, folder: Path, number: int
) -> Iterator[dict[str, Any]]:
    plain = plain_copy(root, name, folder / f"plain-{number}.txt")
    held, file = (Store(str(plain)), "") if plain else (root, name)
    copy = utf8_copy(held, file, folder / f"lines-{number}.txt", encoding) or plain
    options: dict[str, Any] = {"encoding": "utf-8-sig", "errors": "backslashreplace"}
    with copy.open(**options) if copy else root.fs.open(root.path(name), "r", **options) as lines:
        for line in lines:
            url = line.strip()
            if "@" in url:
                url = re.sub(CREDENTIALS, r"\1", url)
            if url:
                yield {"key": url, "url": url}
