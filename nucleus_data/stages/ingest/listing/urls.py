"""URL lists: Parquet, CSV or TSV with a URL column, or text with one URL a line.

A record's key is its URL and `#` and the number of the URL's earlier occurrences in the list.
All other columns become `source.NAME`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.spool import LOCATION, Listing, Spool, quoted
from nucleus_data.stages.ingest.listing.sql import (
    CAPTION_COLUMNS,
    chosen_column,
    described,
    found_column,
    list_query,
    named,
    upstream_columns,
)
from nucleus_data.stages.ingest.settings import IngestSettings

URL_COLUMNS = ("url", "image_url", "urls", "link")


def list_urls(
    location: Location,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    limit: int | None,
) -> Listing:
    """Lists a URL list, in its order.

    Raises:
        RequestError: A file cannot be read, there is no URL column or no row.
    """
    text = [name.lower().endswith(".txt") for name in location.files]
    notes: list[str] = []
    if all(text):
        spool = Spool(folder / "urls.parquet", LOCATION)
        with spool:
            spool.add_all(_lines(location), limit)
        query = f'SELECT *, url AS "source.url" FROM read_parquet({quoted(str(spool.path))})'
    elif any(text):
        raise RequestError(
            f"ingest.source={settings.source!r} matches text files and tables; name one kind"
        )
    else:
        query, binary = _table(location, settings, connection, limit)
        if binary:
            notes.append(f"binary columns left out: {', '.join(binary)}")
    if connection.execute(f"SELECT 1 FROM ({query}) LIMIT 1").fetchone() is None:
        raise RequestError(f"ingest.source={settings.source!r}: the URL list has no row")
    return Listing(query, separator="#", number_all=True, notes=notes)


def _table(
    location: Location,
    settings: IngestSettings,
    connection: duckdb.DuckDBPyConnection,
    limit: int | None,
) -> tuple[str, list[str]]:
    paths = [location.root.url(name) for name in location.files]
    where = f"ingest.source={settings.source!r}"
    table = list_query(paths, settings.storage_options, connection, where)
    columns = list(described(connection, table))
    url = chosen_column(columns, settings.url_column, URL_COLUMNS, where, "url_column")
    caption = found_column(
        columns, settings.caption_column, CAPTION_COLUMNS, where, "caption_column"
    )
    select, binary = upstream_columns(connection, table, special={"url": url, "caption": caption})
    value = f"trim(CAST({named(url)} AS VARCHAR))"
    ours = {"key": f"coalesce({value}, '')", "url": value}
    types = {"int64": "BIGINT", "binary": "BLOB", "bool": "BOOLEAN", "string": "VARCHAR"}
    location_columns = [
        f"CAST({ours.get(field.name, 'NULL')} AS {types[str(field.type)]}) AS {named(field.name)}"
        for field in LOCATION
    ]
    ending = "" if limit is None else f" LIMIT {limit}"
    return f"SELECT {', '.join(location_columns)}, {select} FROM ({table}){ending}", binary


def _lines(location: Location) -> Iterator[dict[str, Any]]:
    """The URLs of text files, one a line; empty lines are none."""
    for name in location.files:
        with location.root.fs.open(
            location.root.path(name), "r", encoding="utf-8-sig", errors="backslashreplace"
        ) as lines:
            for line in lines:
                if url := line.strip():
                    yield {"key": url, "url": url}
