"""Times in Parquet and Arrow files that DuckDB has no value for.

DuckDB holds a time as microseconds in 64 bits, which end with the year 294247, and a time of day
within one day. A file with a single value beyond that it refuses to read at all. So such values are
taken out before: a time of a column becomes one that is still outside of the years that are kept
(`sql`), which tells of it; a time of day, or one inside of a list or structure, becomes NULL.
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

FARTHEST_MS = 9_000_000_000_000_000  # of the year 287168, before and after 1970
DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def held_copy(store: Store, name: str, target: Path) -> list[str] | None:
    """Copies a Parquet file without the times that DuckDB cannot hold.

    Args:
        store: Where the file is.
        name: The file.
        target: Where the copy goes.

    Returns:
        The columns that lost values which nobody else tells of; None if there was nothing to take
        out, or if the file cannot be read: then there is no copy.
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
    except (OSError, pa.ArrowException):  # DuckDB will say what is wrong
        changed = False
    if not changed:
        target.unlink(missing_ok=True)
        return None
    return list(lost)


def without_far_times(
    columns: Sequence[pa.Array], names: Sequence[str], lost: dict[str, None]
) -> list[pa.Array]:
    """Columns without the times that DuckDB cannot hold.

    Args:
        columns: Arrays; those that it can hold are returned as they are.
        names: Their names.
        lost: Gets the names of those that lost values which nobody else tells of.
    """
    held = [held_values(column) for column in columns]
    for name, before, after in zip(names, columns, held, strict=True):
        if after is not before and not pa.types.is_timestamp(after.type):
            lost[name] = None
    return held


def lost_notes(columns: Sequence[str]) -> list[str]:
    """A sentence about the columns that lost such values, for people; none if there are none."""
    said = "left out, as they are of no day, or inside of lists and structures too far: times of"
    return [f"{said}: {', '.join(columns)}"] if columns else []


def held_values(array: pa.Array) -> pa.Array:
    """Values with those replaced that DuckDB cannot hold; the same array if it can hold all."""
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
    if pc.all(inside).as_py() is not False:  # None where there is no value
        return array
    if pa.types.is_timestamp(kind):
        below = pc.min_element_wise(numbers, high, skip_nulls=False)
        return pc.max_element_wise(below, low, skip_nulls=False).cast(kind)
    return pc.if_else(inside, numbers, pa.scalar(None, numbers.type)).cast(kind)


def _limits(kind: pa.DataType) -> tuple[int, int] | None:
    """The first and the last value of a type of times that can be held; None if all can."""
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
    """A type with whole numbers in the place of times."""
    if _is_list(kind):
        return pa.list_(_numbers(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_numbers(field.type)) for field in kind])
    if _limits(kind) is None:
        return kind
    return pa.int32() if pa.types.is_time32(kind) else pa.int64()


def _without(value: Any, kind: pa.DataType) -> Any:
    """A list or structure, as Python has it, with NULL for the times that cannot be held."""
    if value is None:
        return None
    if _is_list(kind):
        return [_without(one, kind.value_type) for one in value]
    if pa.types.is_struct(kind):
        return {field.name: _without(value[field.name], field.type) for field in kind}
    limits = _limits(kind)
    return value if limits is None or limits[0] <= value <= limits[1] else None


def _says_all_are_held(file: pq.ParquetFile) -> bool:
    """Whether the file's statistics say so, for every chunk of a column of times."""
    if not any(_has_times(field.type) for field in file.schema_arrow):
        return True
    limits = [_limits_of_leaf(file.schema.column(i)) for i in range(len(file.schema))]
    for group in range(file.metadata.num_row_groups):
        chunks = file.metadata.row_group(group)
        for leaf, allowed in enumerate(limits):
            chunk = chunks.column(leaf)
            if allowed is None:
                continue
            told = chunk.statistics
            if told is None or not told.has_min_max:
                if told is not None and told.null_count == chunk.num_values:
                    continue
                return False
            if told.min_raw < allowed[0] or told.max_raw > allowed[1]:
                return False
    return True


def _limits_of_leaf(leaf: Any) -> tuple[int, int] | None:
    """The limits of a Parquet column of times; None for any other."""
    told = json.loads(leaf.logical_type.to_json())
    unit = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}.get(
        told.get("timeUnit", "")
    )
    if told["Type"] == "Timestamp" and unit == "ms":
        return _limits(pa.timestamp("ms"))
    return (0, DAY[unit]) if told["Type"] == "Time" and unit else None
