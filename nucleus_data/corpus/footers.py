"""Reads the footers of many parts concurrently, with one request each and without values.

A footer lists the rows of a part, and its statistics tell how many have an error. So a corpus is
counted without reading its values.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.at_once import some_at_once
from nucleus_data.corpus.damaged import damaged, reading
from nucleus_data.corpus.parts import PREFIX, rows_in
from nucleus_data.corpus.store import Store

# Bytes to read from a part's end. Nearly all footers are smaller, and a request of this size takes
# no longer than a smaller one.
TAIL = 64 << 10
ENDING = 8  # bytes after a Parquet footer: its size, and `PAR1`


@dataclass(frozen=True)
class Footer:
    """The footer of a part.

    Attributes:
        name: The part's path below the corpus.
        num_rows: Number of rows.
        keys: Our keys, without their prefix.
        metadata: Parquet's metadata.
    """

    name: str
    num_rows: int
    keys: Mapping[str, str]
    metadata: pq.FileMetaData

    @property
    def rows(self) -> str:
        """The part's row numbers, encoded by `hashing.encode_rows`."""
        return self.keys["rows"]

    @property
    def schema(self) -> tuple[tuple[str, ...], pq.ParquetSchema]:
        """The columns' paths and types, for comparison with other parts."""
        found = self.metadata.schema
        # Parquet's own comparison looks at the last part of a path alone.
        return tuple(found.column(i).path for i in range(len(found))), found

    def count(self, column: str) -> int:
        """Counts the rows with a value in a column, by statistics; 0 if there is no such column."""
        return sum(one.num_values for one in self._statistics(column))

    def all_false(self, column: str) -> bool:
        """Whether the statistics say that no row has true in a column."""
        found = list(self._statistics(column))
        return all(not one.num_values or (one.has_min_max and not one.max) for one in found)

    def _statistics(self, column: str) -> Iterator[pq.Statistics]:
        at = _last_place.get(column, 0)
        for number in range(self.metadata.num_row_groups):
            group = self.metadata.row_group(number)
            if at >= group.num_columns or (chunk := group.column(at)).path_in_schema != column:
                if (place := _place(self.metadata.schema, column)) is None:
                    return
                at = _last_place[column] = place
                chunk = group.column(at)
            if (found := chunk.statistics) is not None:
                yield found


# Column -> its index in the last part; a cache, since parts of a table mostly have equal schemas.
_last_place: dict[str, int] = {}


def _place(schema: pq.ParquetSchema, column: str) -> int | None:
    """Returns the index of a column; None if there is no such column."""
    return next((i for i in range(len(schema)) if schema.column(i).path == column), None)


def read_footers(store: Store, parts: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[Footer]:
    """Yields the footers of parts, in order, without parts that were removed meanwhile.

    Args:
        store: The corpus's store.
        parts: (path below the corpus, expected keys of the footer) of each part; a key that the
            footer lacks is not checked.

    Raises:
        DamagedError: A part can't be read, or has other keys.
    """
    for found in some_at_once(store, lambda part: _footer(store, *part), parts):
        if found is not None:
            yield found


def read_ranges(store: Store, footer: Footer, columns: Sequence[str]) -> pa.Table:
    """Reads some columns of a part, and only their bytes; missing columns are left out.

    Raises:
        DamagedError: They can't be read.
    """
    with reading(store, footer.name):
        source = pa.PythonFile(_Ranges(store, footer), mode="r")
        file = pq.ParquetFile(source, metadata=footer.metadata)
        return file.read(columns=list(columns), use_threads=False)


class _Ranges(io.RawIOBase):
    """A read-only file object over a part; each read is a range request."""

    def __init__(self, store: Store, footer: Footer) -> None:
        super().__init__()
        self._store, self._name, self._at = store, footer.name, 0
        groups = [footer.metadata.row_group(i) for i in range(footer.metadata.num_row_groups)]
        chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
        # The file seems to end after the values, as the footer was read before.
        ends = [_begin(chunk) + chunk.total_compressed_size for chunk in chunks]
        self._size = max(ends, default=0) + ENDING

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        size = self._size - self._at if size < 0 else size
        data = self._store.read_range(self._name, self._at, size)
        self._at += len(data)
        return data


def _begin(chunk: pq.ColumnChunkMetaData) -> int:
    """Returns the offset of a column chunk's first page."""
    first = chunk.dictionary_page_offset
    return int(chunk.data_page_offset if first is None else min(first, chunk.data_page_offset))


def read_ending(store: Store, name: str) -> pq.FileMetaData:
    """Reads the metadata of a Parquet file from its end.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It can't be read.
    """
    try:
        data = store.read_end(name, TAIL)
        with reading(store, name):
            size = int.from_bytes(data[-ENDING:-4], "little") + ENDING
            if size > len(data) == TAIL:
                data = store.read_end(name, size)
            return pq.read_metadata(pa.BufferReader(data))
    except (IsADirectoryError, PermissionError) as error:
        raise damaged(store, name, error) from error


def own_keys(metadata: pq.FileMetaData) -> dict[str, str]:
    """Returns our keys in a file's metadata, without their prefix."""
    start = PREFIX.encode()
    found = (metadata.metadata or {}).items()
    return {k[len(start) :].decode(): v.decode() for k, v in found if k.startswith(start)}


def _footer(store: Store, name: str, expected: Mapping[str, str]) -> Footer | None:
    try:
        metadata = read_ending(store, name)
    except FileNotFoundError:
        return None
    with reading(store, name):
        keys = own_keys(metadata)
        if "rows" not in keys:
            raise damaged(store, name, "it is a Parquet file without a nucleus footer")
        for key, value in expected.items():
            if (there := keys.get(key, value)) != value:
                raise damaged(store, name, f"it belongs to another {key}: {there}, not {value}")
        if (count := rows_in(keys["rows"])) != metadata.num_rows:
            problem = f"it has {metadata.num_rows:,} rows, but its footer says {count:,}"
            raise damaged(store, name, problem)
    return Footer(name, metadata.num_rows, keys, metadata)
