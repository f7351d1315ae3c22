"""Listings of sources, in temporary Parquet files, so that memory does not grow with their size.

Each kind of source yields a `Listing`: a SQL query of the upstream rows, in order, with the columns
of `LOCATION` and one column `source.NAME` per upstream column. DuckDB sorts, joins and counts them,
and spills to the temporary folder.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

MEMORY_LIMIT = "180MB"
BATCH = 10_000
# The location of a record's bytes. `path` is relative to the source's root, in the file system's
# raw bytes, since names need not be UTF-8. Sidecars are in the same tar, or `<stem>.txt` in a
# folder.
LOCATION = pa.schema(
    [
        ("key", pa.string()),
        ("path", pa.binary()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("caption_offset", pa.int64()),
        ("caption_size", pa.int64()),
        ("json_offset", pa.int64()),
        ("json_size", pa.int64()),
        ("url", pa.string()),
        ("extension", pa.string()),
        ("error", pa.string()),
        ("detail", pa.string()),
        ("retryable", pa.bool_()),
    ]
)
# For folders only: paths of the sidecars, if one of them is not `<stem>.txt`.
SIDECARS = ("caption_path", "json_path")
# Times of the last change of a file, and of its sidecars. They are not part of claims, since the
# content of a corpus must not depend on clocks.
CHANGED, BESIDE_CHANGED = "changed", "beside_changed"
PREFIX = "source."


@dataclass
class Listing:
    """The rows of a source.

    Attributes:
        query: SQL of the upstream rows (columns of `LOCATION`, then `source.NAME`).
        order: SQL expressions to order the rows by; empty if the query is ordered.
        separator: Text between a key and the number of its occurrence.
        number_all: Whether the first occurrence of a key gets a number as well.
        skipped: Extension -> number of files that are not images.
        notes: Sentences for people.
    """

    query: str
    order: str = ""
    separator: str = "."
    number_all: bool = False
    skipped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Spool:
    """Writes rows to a Parquet file in batches."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.schema = schema
        self.count = 0
        self._rows: list[Mapping[str, Any]] = []
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()
        self._writer.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row; columns that it lacks are null."""
        self._rows.append(row)
        self.count += 1
        if len(self._rows) >= BATCH:
            self._flush()

    def add_all(self, rows: Iterable[Mapping[str, Any]], limit: int | None = None) -> None:
        """Adds rows, at most `limit` of them."""
        for row in islice(rows, limit):
            self.add(row)

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self.schema))
            self._rows = []


def batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a Parquet file in batches of `BATCH`.

    pyarrow's read-ahead is disabled, as it keeps everything that it has read until the end.

    Args:
        path: The file.
        columns: Names of columns, of which those in the file are read; None for all.
    """
    with pq.ParquetFile(path, pre_buffer=False) as file:
        chosen = columns and [name for name in columns if name in file.schema_arrow.names]
        yield from file.iter_batches(BATCH, columns=chosen)


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """Opens a DuckDB connection with a memory limit of `MEMORY_LIMIT`, which spills to `folder`."""
    return duckdb.connect(
        config={
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(folder / "duckdb"),
            "threads": 2,
            "preserve_insertion_order": True,
        }
    )
