"""DuckDB connections to a store."""

from functools import cache

import duckdb

from nucleus_data.corpus.at_once import IN_FLIGHT
from nucleus_data.corpus.damaged import DamagedError, reading
from nucleus_data.corpus.duck_files import DuckFiles
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import Table, parts_list


def connect(store: Store) -> duckdb.DuckDBPyConnection:
    """Returns a connection that can read a store."""
    if store.local:
        return _database().cursor()
    # Its threads mostly wait for the store, so use as many as requests may be in flight.
    connection = duckdb.connect(config={"threads": IN_FLIGHT})
    connection.execute("SET parquet_metadata_cache = true")
    connection.register_filesystem(DuckFiles(store))
    return connection


def check_part(
    connection: duckdb.DuckDBPyConnection, table: Table, part: str
) -> DamagedError | None:
    """Reads a part with Arrow and with DuckDB; returns an error if one of them fails, else None."""
    name = f"{table.folder}/{part}"
    try:
        table.read_part(part)
        with reading(table.store, name):
            source = parts_list([table.store.url(name)])
            relation = connection.cursor().sql(f"SELECT * FROM read_parquet({source})")
            for _ in relation.to_arrow_reader():
                pass
    except FileNotFoundError:  # removed since it was listed
        return None
    except DamagedError as error:
        return error
    return None


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Returns a shared empty database for local corpora; another one would take 13 ms to open."""
    return duckdb.connect()
