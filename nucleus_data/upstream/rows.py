"""Rows of the files that captions are imported from: each alone, whatever is wrong with another.

A row of a CSV with an open quote costs its own line: the next line is read as if it began a row.
"""

import csv
import json
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.errors import RequestError

MOST_LINE = 16 << 20  # bytes
MOST_LINES = 500  # of a row with line ends in quotes
BATCH = 1024
UNREADABLE = "unreadable"
DELIMITERS = (",", "\t", ";", "|")
BOM = b"\xef\xbb\xbf"
WIDE = (b"\xff\xfe", b"\xfe\xff")
ARROW_FILE = b"ARROW1"
DAMAGED = (OSError, EOFError, zlib.error, pa.ArrowException)
PATH = "path"  # of a picture in a data set: a struct of bytes and path


@dataclass(frozen=True)
class Raw:
    """A row as it stands in a file.

    Attributes:
        line: Its line in a text file, or its number, from 1.
        values: Those of the columns asked for.
        problem: What is wrong with all of it, in words; empty if it can be read.
    """

    line: int
    values: tuple[Any, ...] = ()
    problem: str = ""


def column_names(kind: str, file: IO[bytes], name: str) -> list[str]:
    """The columns of a file; of JSON lines, those of the first row that can be read.

    Raises:
        RequestError: It can't be read.
    """
    try:
        if kind == "parquet":
            return list(pq.ParquetFile(file).schema_arrow.names)
        if kind == "arrow":
            return list(_arrow(file)[0].names)
        if kind == "csv":
            return _Csv(file).names
        for _, text, problem in _lines(file):
            row = None if problem else _object(text)
            if isinstance(row, dict):
                return list(row)
    except (*DAMAGED, UnicodeError, csv.Error) as error:
        raise RequestError(f"{name} can't be read: {_first_line(error)}") from error
    return []


def read_rows(kind: str, file: IO[bytes], columns: Sequence[str], name: str) -> Iterator[Raw]:
    """The rows of a file, one at a time.

    Args:
        kind: `parquet`, `arrow` (a stream or file of `datasets`), `csv` or `jsonl`.
        file: The file, uncompressed.
        columns: Which columns.
        name: What messages call it.

    Raises:
        RequestError: The file itself is damaged.
    """
    try:
        if kind == "parquet":
            yield from _of_batches(_parquet(file, columns), columns)
        elif kind == "arrow":
            yield from _of_batches(_arrow(file)[1], columns)
        elif kind == "csv":
            yield from _Csv(file).rows(columns)
        else:
            yield from _of_lines(file, columns)
    except DAMAGED as error:
        raise RequestError(f"{name} can't be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _parquet(file: IO[bytes], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Batches of some columns; of a picture's column, its path alone."""
    parquet = pq.ParquetFile(file)
    schema = parquet.schema_arrow
    wanted = [f"{n}.{PATH}" if _is_picture(schema.field(n).type) else n for n in columns]
    yield from parquet.iter_batches(BATCH, columns=wanted)


def _arrow(file: IO[bytes]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Columns and batches of an Arrow stream, as `datasets` saves them, or of an Arrow file."""
    start = file.read(len(ARROW_FILE))
    file.seek(0)
    if start == ARROW_FILE:
        reader = pa.ipc.open_file(file)
        return reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))
    stream = pa.ipc.open_stream(file)
    return stream.schema, iter(stream)


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
    """A column's values; texts as bytes, which may be no UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_picture(column.type):
        column = pa.compute.struct_field(column, PATH)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    found: list[Any] = column.to_pylist()
    return found


def _of_lines(file: IO[bytes], columns: Sequence[str]) -> Iterator[Raw]:
    for line, text, problem in _lines(file):
        if not problem and not text.strip():
            continue
        row = None if problem else _object(text)
        if isinstance(row, dict):
            yield Raw(line, tuple(_plain(row.get(name)) for name in columns))
        else:
            yield Raw(line, problem=problem or "it is no JSON object")


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    """The path of a picture; any other value as it is."""
    return value[PATH] if isinstance(value, dict) and PATH in value else value


def _lines(file: IO[bytes]) -> Iterator[tuple[int, str, str]]:
    """Lines with their number; or what is wrong with one."""
    number, more = 0, b""
    while line := file.readline(MOST_LINE):
        number += 1
        if number == 1:
            if line.startswith(WIDE):
                raise OSError("it is UTF-16; write it as UTF-8")
            line = line.removeprefix(BOM)
        if len(line) == MOST_LINE and not line.endswith(b"\n"):
            while (more := file.readline(MOST_LINE)) and not more.endswith(b"\n"):
                pass
            yield number, "", f"it is longer than {MOST_LINE:,} bytes"
            continue
        try:
            yield number, line.decode(), ""
        except UnicodeDecodeError as error:
            yield number, "", f"it is no UTF-8: {error.reason} at byte {error.start}"


class _Csv:
    """A CSV or TSV file with a head; which separator it has is told by the head."""

    def __init__(self, file: IO[bytes]) -> None:
        csv.field_size_limit(MOST_LINE)
        self._lines = _lines(file)
        self._ahead: deque[tuple[int, str, str]] = deque()
        self._delimiter = ","
        head = next(self._lines, (1, "", ""))
        if head[2]:
            raise OSError(f"its head: {head[2]}")
        self._delimiter = max(DELIMITERS, key=head[1].count)
        self.names = next(iter(self._parsed([head[1]])), [])

    def rows(self, columns: Sequence[str]) -> Iterator[Raw]:
        """Its rows."""
        places = [self.names.index(name) for name in columns]
        while (first := self._next()) is not None:
            line, text, problem = first
            if not problem and not text.strip():
                continue
            if not problem:
                fields, problem = self._row(text)
            if not problem and len(fields) != len(self.names):
                problem = f"it has {len(fields)} fields, and the head has {len(self.names)}"
            if problem:
                yield Raw(line, problem=problem)
            else:
                yield Raw(line, tuple(fields[place] for place in places))

    def _next(self) -> tuple[int, str, str] | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def _row(self, text: str) -> tuple[list[str], str]:
        """The fields of a row that begins with a line; those of its further lines are taken."""
        taken, size = [(0, text, "")], len(text)
        while True:
            try:
                (fields,) = self._parsed([line for _, line, _ in taken])
            except csv.Error as error:
                problem = str(error)
            else:
                return fields, ""
            open_quote = "unexpected end" in problem
            more = self._upto_quote(MOST_LINES - len(taken), MOST_LINE - size) if open_quote else []
            if not more:
                self._ahead.extendleft(reversed(taken[1:]))
                return [], "a quote is opened and not closed" if open_quote else problem
            taken += more
            size += sum(len(line) for _, line, _ in more)

    def _upto_quote(self, lines: int, size: int) -> list[tuple[int, str, str]]:
        """The next lines up to one that may close a quote; none if there is none near."""
        found: list[tuple[int, str, str]] = []
        while len(found) < lines and size > 0 and (line := self._next()) is not None:
            found.append(line)
            size -= len(line[1])
            if line[2]:
                break
            if '"' in line[1]:
                return found
        self._ahead.extendleft(reversed(found))
        return []

    def _parsed(self, lines: list[str]) -> list[list[str]]:
        return list(csv.reader(lines, delimiter=self._delimiter, strict=True))
