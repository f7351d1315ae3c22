"""All-to-all exchange of Arrow tables between tasks: each writes one file, grouped by reader.

This is the shuffle step of a distributed join or sort. A file has R + 1 offsets in bytes (uint64,
little-endian) for R readers, followed by each reader's rows as an Arrow stream. A reader reads its
range of every file. For rows of a fixed size, such as pairs of hashes, see `shuffle`.
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
    """Writes a file of rows, grouped by reader.

    Args:
        store: The store to write to.
        name: Path of the file in the store.
        rows: (N,) The rows.
        reader: (N,) The number of each row's reader, from 0.
        readers: Number of readers.

    Raises:
        CorpusError: There is a file of that name with other content.
    """
    rows = rows.combine_chunks()
    deal_tables(store, name, (rows.take(pa.array(at)) for at in by_reader(reader, readers)))


def by_reader(reader: NDArray[Any], readers: int) -> list[NDArray[np.int64]]:
    """Returns the indices of each reader's rows, ascending.

    Args:
        reader: (N,) The number of each row's reader, from 0.
        readers: Number of readers.
    """
    bounds = np.cumsum(np.bincount(reader.astype(np.int64), minlength=readers))
    return np.split(np.argsort(reader, kind="stable"), bounds[:-1])


def deal_tables(store: Store, name: str, tables: Iterable[pa.Table]) -> None:
    """Writes a file like `deal`, given one table per reader.

    Args:
        store: The store to write to.
        name: Path of the file in the store.
        tables: The rows of each reader, consumed one at a time.

    Raises:
        CorpusError: There is a file of that name with other content.
    """
    parts = [_encoded(rows) if rows.num_rows else b"" for rows in tables]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    if not store.create(name, b"".join([starts.astype("<u8").tobytes(), *parts])):
        raise CorpusError(
            f"{store.url(name)} contains unexpected rows: remove the folder and run again"
        )


def collect(
    store: Store, names: Sequence[str], reader: int, readers: int, schema: pa.Schema
) -> pa.Table:
    """Reads a reader's rows from all files, in the order of the files.

    Args:
        store: The store of the files.
        names: Paths of the files in the store.
        reader: The reader's number, from 0.
        readers: Number of readers that the files were written for.
        schema: The rows' schema; columns of other types are cast to it.

    Raises:
        ValueError: Rows have other columns, or can't be cast.
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
    # Combined column by column, each freeing its parts, so that no two copies of all rows exist.
    found.clear()
    return pa.Table.from_arrays([_combined(parts) for parts in columns], schema=schema)


def _combined(parts: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Combines a column's parts into one chunk, and clears the list of parts."""
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
