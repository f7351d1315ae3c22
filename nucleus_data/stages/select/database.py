"""The database in which a configuration's SQL is parsed, tried and run: it reaches no file or host.

Data is handed in as Arrow. Its configuration is locked, so that no expression opens it again.
"""

from functools import cache

import duckdb

SEALED: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # each thread of ours works by itself
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    # A name is a table that was registered, and never a variable of this program.
    "python_enable_replacements": False,
}


def sealed() -> duckdb.DuckDBPyConnection:
    """A connection that sees what is registered with it, and nothing else.

    Times are read in UTC, not in the machine's zone, which may differ.
    """
    return _database().cursor()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """The database of all these connections: making one takes as long as judging a shard."""
    made = duckdb.connect(config=SEALED)
    made.execute("SET GLOBAL TimeZone = 'UTC'").fetchall()
    made.execute("SET lock_configuration = true").fetchall()
    return made
