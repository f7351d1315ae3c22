"""Stored columns of several tables, beside each other: a value, or NULL, for each wanted row."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.corpus.tables import Table


def read_columns(
    open_table: Callable[[str], Table], shard: int, paths: Iterable[str], wanted: np.ndarray
) -> pa.Table:
    """Columns of some rows of a shard.

    Args:
        open_table: A table by its name.
        shard: The shard's number.
        paths: The columns, as `table:column`.
        wanted: The rows, ascending.

    Returns:
        The columns, named as asked; NULL where a table has no row, of the type `null` where it has
        none of them, or no such column.
    """
    paths = list(dict.fromkeys(paths))
    by_table: dict[str, list[str]] = {}
    for path in paths:
        name, _, column = path.partition(":")
        by_table.setdefault(name, []).append(column)
    found: dict[str, Any] = {}
    for name, columns in by_table.items():
        # `Records.read` would refuse a column that no part of this shard has.
        read = Table.read(open_table(name), shard, ["row", *columns])
        places = None if read is None else _places(read, wanted)
        for column in columns:
            if read is None or column not in read.column_names:
                found[f"{name}:{column}"] = pa.nulls(len(wanted))
            else:
                values = read.column(column)
                found[f"{name}:{column}"] = values if places is None else values.take(places)
    return pa.table({path: found[path] for path in paths})


def _places(table: pa.Table, wanted: np.ndarray) -> pa.Array | None:
    """Where in a table each wanted row is, NULL where it is not; None if it has just these."""
    rows = table.column("row").to_numpy()
    if np.array_equal(rows, wanted):
        return None
    places = np.searchsorted(rows, wanted)
    there = places < len(rows)
    there[there] = rows[places[there]] == wanted[there]
    return pa.array(np.where(there, places, 0), mask=~there)
