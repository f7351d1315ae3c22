"""The database in which a configuration's SQL is parsed, tried and run: it reaches no file or host.

Data is handed in as Arrow. Its configuration is locked, so that no expression opens it again.
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
    # A name is a table that was registered, and never a variable of this program.
    "python_enable_replacements": False,
}


def sealed(threads: int = 1) -> duckdb.DuckDBPyConnection:
    """A connection that sees what is registered with it, and nothing else.

    Times are read in UTC, not in the machine's zone, which may differ.

    Args:
        threads: How many it works with; one where several of ours ask at once.
    """
    return _database(threads).cursor()


@contextmanager
def at_most(seconds: float, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Ends what a connection does after some time, by a `duckdb.InterruptException`."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@cache
def _database(threads: int) -> duckdb.DuckDBPyConnection:
    """The database of all these connections: making one takes as long as judging a shard."""
    made = duckdb.connect(config={**SEALED, "threads": threads})
    made.execute("SET GLOBAL TimeZone = 'UTC'").fetchall()
    made.execute("SET lock_configuration = true").fetchall()
    return made
