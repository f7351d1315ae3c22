"""Reads stored columns of several tables, aligned to wanted rows, and conditions over them."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.corpus.tables import Table
from nucleus_data.stage import Condition


def read_columns(
    open_table: Callable[[str], Table], shard: int, paths: Iterable[str], wanted: np.ndarray
) -> pa.Table:
    """Reads columns of some rows of a shard.

    Args:
        open_table: Opens a table by its name.
        shard: The shard's number.
        paths: The columns, as `table:column`.
        wanted: The rows, ascending.

    Returns:
        One row per wanted row, with columns named by `paths`: NULL where a table lacks the row, and
        of the type `null` if it has none of the rows, or no such column.
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


def condition_answers(
    condition: Condition, open_table: Callable[[str], Table], shard: int, wanted: np.ndarray
) -> pa.ChunkedArray:
    """Evaluates a condition for some rows of a shard.

    Args:
        condition: The condition.
        open_table: Opens a table by its name.
        shard: The shard's number.
        wanted: The rows, ascending; each should be in all of `tables_of` the condition.

    Returns:
        True, false or NULL for each row.
    """
    columns = read_columns(open_table, shard, condition.columns, wanted)
    if not columns.num_columns:  # a constant condition: only the number of rows matters
        columns = pa.table({"": pa.nulls(len(wanted))})
    return condition.answers(columns)


def tables_of(condition: Condition) -> set[str]:
    """Returns the names of the tables that a condition reads."""
    return {path.partition(":")[0] for path in condition.columns}


def _places(table: pa.Table, wanted: np.ndarray) -> pa.Array | None:
    """Returns the index of each wanted row in a table, NULL if missing; None if rows are equal."""
    rows = table.column("row").to_numpy()
    if np.array_equal(rows, wanted):
        return None
    places = np.searchsorted(rows, wanted)
    in_range = places < len(rows)
    in_range[in_range] = rows[places[in_range]] == wanted[in_range]
    return pa.array(np.where(in_range, places, 0), mask=~in_range)
