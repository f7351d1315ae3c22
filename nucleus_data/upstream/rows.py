"""Reads the rows of Parquet, Arrow, CSV and JSON Lines files, one at a time."""

import csv
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.errors import RequestError
from nucleus_data.upstream.csv_rows import CsvRows
from nucleus_data.upstream.data_sets import open_arrow
from nucleus_data.upstream.lines import json_rows
from nucleus_data.upstream.parquet_damage import damaged_rows

BATCH = 1024
UNREADABLE = "unreadable"
DAMAGED = (OSError, EOFError, zlib.error, pa.ArrowException)
PATH = "path"  # field of a picture in a data set, a struct of bytes and path


@dataclass(frozen=True)
class Raw:
    """A row of a file.

    Attributes:
        line: Line number in a text file, otherwise row number, from 1.
        values: Values of the requested columns; empty if the row can't be read.
        problem: The reason why the row can't be read; empty if it can.
    """

    line: int
    values: tuple[Any, ...] = ()
    problem: str = ""


def column_names(kind: str, file: IO[bytes], name: str) -> list[str]:
    """Returns a file's columns; for JSON Lines, the keys of its first `BATCH` rows.

    Args:
        kind: As in `read_rows`.
        file: The file, uncompressed.
        name: Name of the file, for messages.

    Raises:
        RequestError: The file can't be read.
    """
    try:
        if kind == "parquet":
            return list(pq.ParquetFile(file).schema_arrow.names)
        if kind == "arrow":
            return list(open_arrow(file)[0].names)
        if kind == "csv":
            return CsvRows(file).names
        return _keys(file, name)
    except (*DAMAGED, UnicodeError, csv.Error) as error:
        raise RequestError(f"{name} can't be read: {_first_line(error)}") from error


def _keys(file: IO[bytes], name: str) -> list[str]:
    """Returns the keys of a JSON Lines file's first rows. Raises RequestError if it has no row."""
    found: dict[str, None] = {}
    problem = "it is empty"
    for line, row in islice(json_rows(file), BATCH):
        found |= dict.fromkeys(row)
        if line.problem and line.number == 1:
            array = line.text.lstrip().startswith("[")
            problem = "it is a JSON array" if array else f"line 1: {line.problem}"
    if not found:
        raise RequestError(f"{name} is not JSON Lines, one object per line: {problem}")
    return list(found)


def read_rows(kind: str, file: IO[bytes], columns: Sequence[str], name: str) -> Iterator[Raw]:
    """Yields the rows of a file, one at a time.

    Args:
        kind: `parquet`, `arrow` (a stream or file of `datasets`), `csv` or `jsonl`.
        file: The file, uncompressed.
        columns: Names of the columns to read.
        name: Name of the file, for messages.

    Raises:
        RequestError: The file itself is damaged.
    """
    try:
        if kind == "parquet":
            yield from _of_batches(_parquet(file, columns), columns)
        elif kind == "arrow":
            yield from _of_batches(open_arrow(file)[1], columns)
        elif kind == "csv":
            yield from _of_csv(file, columns)
        else:
            yield from _of_lines(file, columns)
    except DAMAGED as error:
        rows = damaged_rows(file, columns) if kind == "parquet" else ""
        raise RequestError(f"{name} can't be read: {_first_line(error)}{rows}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _parquet(file: IO[bytes], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yields batches of some columns; of a column of pictures, only the path is read."""
    # With `pre_buffer`, pyarrow would keep everything that it has read in memory.
    parquet = pq.ParquetFile(file, pre_buffer=False)
    schema = parquet.schema_arrow
    wanted = [f"{n}.{PATH}" if _is_picture(schema.field(n).type) else n for n in columns]
    yield from parquet.iter_batches(BATCH, columns=wanted)


def _is_picture(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index(PATH) >= 0


def _of_batches(batches: Iterator[pa.RecordBatch], columns: Sequence[str]) -> Iterator[Raw]:
    line = 0
    for batch in batches:
        values = [_values(batch.column(name)) for name in columns]
        for row in zip(*values, strict=True):
            line += 1
            yield Raw(line, row)


def _values(column: pa.Array) -> list[Any]:
    """Returns a column's values; texts as bytes, since they may not be UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_picture(column.type):
        column = pa.compute.struct_field(column, PATH)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    found: list[Any] = column.to_pylist()
    return found


def _of_lines(file: IO[bytes], columns: Sequence[str]) -> Iterator[Raw]:
    for line, row in json_rows(file):
        values = () if line.problem else tuple(_plain(row.get(name)) for name in columns)
        yield Raw(line.number, values, line.problem)


def _of_csv(file: IO[bytes], columns: Sequence[str]) -> Iterator[Raw]:
    table = CsvRows(file)
    places = [table.names.index(name) for name in columns]
    for row in table.rows():
        values = () if row.problem else tuple(row.fields[place] for place in places)
        yield Raw(row.line, values, row.problem)


def _plain(value: Any) -> Any:
    """Returns the path of a picture, and any other value unchanged."""
    return value[PATH] if isinstance(value, dict) and PATH in value else value
