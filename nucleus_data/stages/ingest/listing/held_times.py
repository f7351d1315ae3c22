"""Replaces times in Parquet and Arrow data that DuckDB can't represent.

DuckDB represents a timestamp as microseconds in 64 bits, which end in the year 294247, and a time
of day within one day. It refuses to read a file with a single value beyond these limits. So such
values are replaced beforehand. A timestamp column's value is clamped to a limit that is still
outside of the years that are kept (1 to 9999), so that `sql` drops and reports it. A time of day,
or a time inside a list or structure, becomes NULL, and this module's callers report its column.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.stages.ingest.listing.spool import BATCH

FARTHEST_MS = 9_000_000_000_000_000  # limit in ms from 1970, in both directions; the year 287168
DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def held_copy(store: Store, name: str, target: Path) -> list[str] | None:
    """Copies a Parquet file without the times that DuckDB can't represent.

    Args:
        store: The store with the file.
        name: Name of the file.
        target: Path of the copy.

    Returns:
        The columns in which values became NULL, which the caller has to report. None, and no copy,
        if nothing had to be replaced or the file can't be read.
    """
    lost: dict[str, None] = {}
    changed = False
    try:
        with with_retries(lambda: store.fs.open(store.path(name), "rb")) as handle:
            file = pq.ParquetFile(handle, pre_buffer=False)  # see `spool.batches`
            if _says_all_are_held(file):
                return None
            with pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as writer:
                for batch in file.iter_batches(BATCH):
                    columns = batch.columns
                    held = without_far_times(columns, batch.schema.names, lost)
                    changed |= any(a is not b for a, b in zip(held, columns, strict=True))
                    writer.write_table(pa.Table.from_arrays(held, schema=file.schema_arrow))
    except (OSError, pa.ArrowException):  # DuckDB will report the error
        changed = False
    if not changed:
        target.unlink(missing_ok=True)
        return None
    return list(lost)


def without_far_times(
    columns: Sequence[pa.Array], names: Sequence[str], lost: dict[str, None]
) -> list[pa.Array]:
    """Returns columns without the times that DuckDB can't represent.

    Args:
        columns: The columns; those without such times are returned as the same objects.
        names: Names of the columns.
        lost: Receives, as keys, the names of columns in which values became NULL.
    """
    held = [held_values(column) for column in columns]
    for name, before, after in zip(names, columns, held, strict=True):
        if after is not before and not pa.types.is_timestamp(after.type):
            lost[name] = None
    return held


def lost_notes(columns: Sequence[str]) -> list[str]:
    """Returns a note about columns in which values became NULL; empty without such columns."""
    note = "times of day beyond 24 hours, or too far inside of lists and structures, left out of"
    return [f"{note}: {', '.join(columns)}"] if columns else []


def held_values(array: pa.Array) -> pa.Array:
    """Returns an array without unrepresentable values; the same object if it has none."""
    kind = array.type
    if not _has_times(kind):
        return array
    numbers = array.cast(_numbers(kind))
    limits = _limits(kind)
    if limits is None:
        found = [_without(value, kind) for value in numbers.to_pylist()]
        held = pa.array(found, numbers.type)
        return array if held.equals(numbers) else held.cast(kind)
    low, high = (pa.scalar(limit, numbers.type) for limit in limits)
    inside = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    if pc.all(inside).as_py() is not False:  # None if all values are NULL
        return array
    if pa.types.is_timestamp(kind):
        below = pc.min_element_wise(numbers, high, skip_nulls=False)
        return pc.max_element_wise(below, low, skip_nulls=False).cast(kind)
    return pc.if_else(inside, numbers, pa.scalar(None, numbers.type)).cast(kind)


def _limits(kind: pa.DataType) -> tuple[int, int] | None:
    """Returns the least and greatest representable value of a type; None if there is no limit."""
    if pa.types.is_timestamp(kind) and kind.unit in ("s", "ms"):
        most = FARTHEST_MS if kind.unit == "ms" else FARTHEST_MS // 1000
        return -most, most
    return (0, DAY[kind.unit]) if pa.types.is_time(kind) else None


def _has_times(kind: pa.DataType) -> bool:
    if _is_list(kind):
        return _has_times(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_has_times(field.type) for field in kind)
    return _limits(kind) is not None


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _numbers(kind: pa.DataType) -> pa.DataType:
    """Returns a type with integers in place of times."""
    if _is_list(kind):
        return pa.list_(_numbers(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_numbers(field.type)) for field in kind])
    if _limits(kind) is None:
        return kind
    return pa.int32() if pa.types.is_time32(kind) else pa.int64()


def _without(value: Any, kind: pa.DataType) -> Any:
    """Returns a list or structure, as a Python object, with None for unrepresentable times."""
    if value is None:
        return None
    if _is_list(kind):
        return [_without(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        return {field.name: _without(value[field.name], field.type) for field in kind}
    limits = _limits(kind)
    return value if limits is None or limits[0] <= value <= limits[1] else None


def _says_all_are_held(file: pq.ParquetFile) -> bool:
    """Returns whether the file's statistics prove that all times are within the limits."""
    if not any(_has_times(field.type) for field in file.schema_arrow):
        return True
    limits = [_limits_of_leaf(file.schema.column(i)) for i in range(len(file.schema))]
    for group in range(file.metadata.num_row_groups):
        chunks = file.metadata.row_group(group)
        for leaf, allowed in enumerate(limits):
            chunk = chunks.column(leaf)
            if allowed is None:
                continue
            statistics = chunk.statistics
            if statistics is None or not statistics.has_min_max:
                if statistics is not None and statistics.null_count == chunk.num_values:
                    continue
                return False
            if statistics.min_raw < allowed[0] or statistics.max_raw > allowed[1]:
                return False
    return True


def _limits_of_leaf(leaf: Any) -> tuple[int, int] | None:
    """Returns the limits of a Parquet column of times; None for other columns."""
    logical = json.loads(leaf.logical_type.to_json())
    unit = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}.get(
        logical.get("timeUnit", "")
    )
    if logical["Type"] == "Timestamp" and unit == "ms":
        return _limits(pa.timestamp("ms"))
    return (0, DAY[unit]) if logical["Type"] == "Time" and unit else None
