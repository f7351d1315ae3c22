"""Rows on their way from many tasks to many others: files of rows, sorted by who reads them.

A file begins with where each reader's rows begin (uint64, one more than there are readers); then
come the rows of each reader, as an Arrow stream. A reader reads its range of every file.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError

READS_AT_ONCE = 32
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)


def deal(store: Store, name: str, rows: pa.Table, reader: NDArray[Any], readers: int) -> None:
    """Writes a file of rows for its readers.

    Args:
        store: The store that it is written to.
        name: Path of the file in the store.
        rows: The rows.
        reader: The number of the reader of each row.
        readers: How many readers there are.

    Raises:
        CorpusError: A file of that name with other rows is there.
    """
    rows = rows.combine_chunks()
    deal_tables(store, name, (rows.take(pa.array(at)) for at in by_reader(reader, readers)))


def by_reader(reader: NDArray[Any], readers: int) -> list[NDArray[np.int64]]:
    """The numbers of each reader's rows, ascending, from the number of the reader of each row."""
    bounds = np.cumsum(np.bincount(reader.astype(np.int64), minlength=readers))
    return np.split(np.argsort(reader, kind="stable"), bounds[:-1])


def deal_tables(store: Store, name: str, tables: Iterable[pa.Table]) -> None:
    """Writes a file of rows for its readers, as `deal`, from the table of each reader in turn.

    Args:
        store: The store that it is written to.
        name: Path of the file in the store.
        tables: The rows of each reader; they are asked for one after the other, and not held.

    Raises:
        CorpusError: A file of that name with other rows is there.
    """
    parts = [_encoded(rows) if rows.num_rows else b"" for rows in tables]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    if not store.create(name, b"".join([starts.astype("<u8").tobytes(), *parts])):
        raise CorpusError(
            f"{store.url(name)} holds other rows than expected: remove the folder and run again"
        )


def collect(
    store: Store, names: Sequence[str], reader: int, readers: int, schema: pa.Schema
) -> pa.Table:
    """A reader's rows of all files, in the files' order.

    Args:
        store: The store that the files are in.
        names: Paths of the files in the store.
        reader: The reader's number.
        readers: How many readers there are.
        schema: Of the rows; columns of other types are cast.

    Raises:
        ValueError: Rows have other columns, or do not fit the schema.
    """

    def read(name: str) -> pa.Table:
        first, end = np.frombuffer(store.read_range(name, 8 * reader, 16), "<u8").tolist()
        if first == end:
            return schema.empty_table()
        data = store.read_range(name, 8 * (readers + 1) + first, end - first)
        with pa.ipc.open_stream(pa.BufferReader(data)) as stream:
            rows = stream.read_all()
        return rows if rows.schema.equals(schema) else rows.cast(schema)

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        found = [schema.empty_table(), *pool.map(read, names)]
    columns = [list(parts) for parts in zip(*(rows.columns for rows in found), strict=True)]
    found.clear()  # each column's parts go as it becomes one, so that there are never two of all
    return pa.Table.from_arrays([_whole(parts) for parts in columns], schema=schema)


def _whole(parts: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Makes one column of its parts, and empties their list."""
    chunks = [chunk for part in parts for chunk in part.chunks]
    column = pa.table({"": pa.chunked_array(chunks, parts[0].type)})
    parts.clear()
    return column.combine_chunks().column(0)


def _encoded(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS) as stream:
        stream.write_table(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content
