"""Words errors about sources that can't be read, and finds the damaged file."""

from pathlib import Path

import duckdb
import pyarrow as pa

from nucleus_data.errors import RequestError
from nucleus_data.sql import literal
from nucleus_data.stages.ingest.listing.held_times import held_copy
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.spool import BATCH


def reason(error: Exception) -> str:
    """Returns the first line of an error, without the SQL that DuckDB appends."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def unread(
    location: Location, error: duckdb.Error, folder: Path, connection: duckdb.DuckDBPyConnection
) -> RequestError:
    """Makes the error for rows that DuckDB can't read, with the name of the damaged file.

    DuckDB does not always name the file, so each Parquet file is read to find out.

    Args:
        location: The source.
        error: DuckDB's error.
        folder: For temporary files.
        connection: DuckDB.
    """
    where = f"ingest.source={location.uri!r}"
    lists = location.files if location.kind == "urls" else []
    for name in (name for name in lists if name.lower().endswith(".parquet")):
        copy = folder / "unread.parquet"
        held = held_copy(location.root, name, copy) is not None
        path = str(copy) if held else location.root.url(name)
        try:
            read_through(connection, f"SELECT * FROM read_parquet({literal(path)})")
        except duckdb.Error as file_error:
            return RequestError(f"{where}: {name!r} cannot be read: {reason(file_error)}")
    return RequestError(f"{where} cannot be read: {reason(error)}")


def read_through(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Reads all rows, since only this finds damaged pages of a Parquet file.

    Raises:
        duckdb.Error: A file is damaged.
    """
    try:
        for _ in connection.sql(query).to_arrow_reader(BATCH):
            pass
    except (OSError, pa.ArrowException) as error:  # DuckDB's, if the first batch could be read
        raise duckdb.Error(str(error)) from error
