"""Writes, reads and checks one Parquet part.

A part is read in one request. Its footer has keys of our own, `nucleus.*`: the part's table and
shard, and its rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nucleus_data.corpus.damaged import damaged, read_whole, reading
from nucleus_data.corpus.store import Store
from nucleus_data.hashing import decode_rows

KEY_FIELDS = (
    pa.field("shard", pa.int32(), nullable=False),
    pa.field("row", pa.int32(), nullable=False),
    pa.field("id", pa.string(), nullable=False),
)
ROW_GROUP = 25_000
PREFIX = "nucleus."


class Part:
    """A part of a table, with its footer checked.

    Args:
        store: The corpus's store.
        name: The part's path below the corpus.
        expected: Expected keys of its footer; a key that the footer lacks is not checked.

    Attributes:
        footer: Our keys in its footer, without their prefix.
        num_rows: Number of rows.

    Raises:
        FileNotFoundError: There is no such part.
        DamagedError: It can't be read, or is no part of the expected table and shard.
    """

    def __init__(self, store: Store, name: str, expected: Mapping[str, str]) -> None:
        self.store = store
        self.name = name
        data = read_whole(store, name)
        with reading(store, name):
            self._file = pq.ParquetFile(pa.BufferReader(data))
            self.footer = own_footer(self._file.schema_arrow)
            self.num_rows: int = self._file.metadata.num_rows
            if problem := self._problem(expected):
                raise damaged(store, name, problem)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Reads columns, in the file's order; missing ones are left out. None reads all."""
        with reading(self.store, self.name):
            # Starting threads takes longer than reading parts of about 10,000 rows.
            if columns is None:
                return self._file.read(use_threads=False)
            chosen = [name for name in columns if name != "row"]
            table = self._file.read(columns=chosen, use_threads=False)
            if "row" not in columns:
                return table
            # Row numbers are taken from the footer, which was read anyway.
            schema = self._file.schema_arrow
            before = schema.names[: schema.get_field_index("row")]
            rows = _row_numbers(self.footer["rows"], schema.field("row").type)
            place = len([name for name in before if name in columns])
            return table.add_column(place, schema.field("row"), rows)

    def _problem(self, expected: Mapping[str, str]) -> str:
        """Returns why this is no part of the expected table and shard; empty if it is."""
        schema = self._file.schema_arrow
        if "rows" not in self.footer:
            return "it is a Parquet file without a nucleus footer"
        for field in KEY_FIELDS:
            at = schema.get_field_index(field.name)
            if at < 0:
                return f"it has no column {field.name}"
            found = schema.field(at).type
            # Other integers are read as well as ours.
            if pa.types.is_integer(found) != pa.types.is_integer(field.type):
                return f"its column {field.name} is {found}, not {field.type}"
        for key, value in expected.items():
            if (there := self.footer.get(key, value)) != value:
                return f"it belongs to another {key}: {there}, not {value}"
        if (count := rows_in(self.footer["rows"])) != self.num_rows:
            return f"it has {self.num_rows:,} rows, but its footer says {count:,}"
        return ""


def own_footer(schema: pa.Schema) -> dict[str, str]:
    """Returns our keys in a footer, without their prefix."""
    return {
        key.decode()[len(PREFIX) :]: value.decode()
        for key, value in (schema.metadata or {}).items()
        if key.startswith(PREFIX.encode())
    }


def row_numbers(texts: Iterable[str]) -> NDArray[np.int64]:
    """Returns the row numbers of several parts, in the parts' order.

    Args:
        texts: The key `rows` of each part's footer, as `hashing.encode_rows` writes it.
    """
    return np.concatenate([np.empty(0, np.int64), *map(decode_rows, texts)])


def rows_in(rows: str) -> int:
    """Counts the rows in a text of `hashing.encode_rows`; the count is wrong if it is damaged."""
    ranges = (item.partition("-") for item in rows.split(",") if item)
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


@lru_cache(maxsize=64)  # the tables of a shard mostly have the same rows
def _row_numbers(text: str, kind: pa.DataType) -> pa.Array:
    return pa.array(decode_rows(text), kind)


def encode_part(table: pa.Table, footer: Mapping[str, str]) -> bytes:
    """Encodes a part deterministically: the same rows give the same bytes.

    It is compressed with zstd, and has statistics and row groups of 25,000 rows. Only text columns
    other than ids use a dictionary: ids are unique, and for measured numbers, most of which are
    unique, a dictionary takes a fifth more space and twice the time to write.

    Args:
        table: The rows.
        footer: Our keys, without the prefix `nucleus.`.
    """
    metadata = {f"{PREFIX}{key}": value for key, value in sorted(footer.items())}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(metadata),
        sink,
        compression="zstd",
        use_dictionary=[path for f in table.schema if f.name != "id" for path in _texts(f)],
        row_group_size=ROW_GROUP,
        write_statistics=True,
        store_schema=True,
    )
    return sink.getvalue().to_pybytes()


def _texts(field: pa.Field, path: str = "") -> Iterator[str]:
    """Yields the Parquet paths of all text leaves of a column."""
    path = f"{path}.{field.name}" if path else field.name
    if pa.types.is_struct(field.type):
        for child in field.type:
            yield from _texts(child, path)
    elif isinstance(field.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        yield from _texts(field.type.value_field.with_name("element"), f"{path}.list")
    elif pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        yield path
