"""The DuckDB database in which SQL from a configuration is parsed, tried and run.

It has no access to files or hosts; data is passed in as Arrow tables. Its settings are locked, so
that no expression can grant access again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import duckdb

SEALED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    # Names refer only to registered tables, never to Python variables.
    "python_enable_replacements": False,
}


def sealed(threads: int = 1) -> duckdb.DuckDBPyConnection:
    """Returns a connection that sees only what is registered with it.

    Its time zone is UTC and not the machine's, so that all machines agree.

    Args:
        threads: Number of threads; 1 if several threads of ours run queries at once.
    """
    return _database(threads).cursor()


@contextmanager
def at_most(seconds: float, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Limits the time of a connection's queries: these raise `duckdb.InterruptException` then."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@cache
def _database(threads: int) -> duckdb.DuckDBPyConnection:
    """Returns the shared database; making one takes as long as judging a shard."""
    made = duckdb.connect(config={**SEALED, "threads": threads})
    made.execute("SET GLOBAL TimeZone = 'UTC'").fetchall()
    made.execute("SET lock_configuration = true").fetchall()
    return made
