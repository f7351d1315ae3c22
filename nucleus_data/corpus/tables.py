"""Tables made of Parquet parts, each of which is its own commit.

`tables/<name>/<config hash>/000017-0.parquet` is part 0 of shard 17. Parts of a shard never share a
row and are numbered without gaps; who loses the race for a number drops the rows that the winner
wrote and takes the next one. So `*.parquet` is right for any tool at any moment. The footer says
which rows a part holds, so that coverage is known without reading values.

Failures that may pass (a killed worker) lie beside the parts, in `_failed/`, until `nucleus retry`
tries again; a row of the table outweighs them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.hashing import decode_rows, encode_rows

KEY_FIELDS = (
    pa.field("shard", pa.int32(), nullable=False),
    pa.field("row", pa.int32(), nullable=False),
    pa.field("id", pa.string(), nullable=False),
)
FAILED_SCHEMA = pa.schema(
    [*KEY_FIELDS, pa.field("reason", pa.string()), pa.field("detail", pa.string())]
)
ROW_GROUP = 25_000
PREFIX = "nucleus."


def table_schema(values: pa.Schema, *, error: bool = True) -> pa.Schema:
    """A table's full schema: key, values, and (if it is measured) a failure's reason code."""
    tail = [pa.field("error", pa.string())] if error else []
    return pa.schema([*KEY_FIELDS, *values, *tail])


class Table:
    """One table of a corpus, at one config hash.

    Args:
        store: The corpus's store.
        name: Table name, for example `inspect.tone`.
        config_hash: What identifies its values.
        folder: Where it lies; `tables/<name>/<config hash>` by default.
    """

    def __init__(
        self, store: Store, name: str, config_hash: str, *, folder: str | None = None
    ) -> None:
        self.store = store
        self.name = name
        self.config_hash = config_hash
        self.folder = folder or f"tables/{name}/{config_hash}"

    @property
    def failed(self) -> "Table":
        """The failures of this table that may pass."""
        return Table(self.store, self.name, self.config_hash, folder=f"{self.folder}/_failed")

    def shards(self) -> list[int]:
        """Shards that have at least one part, ascending."""
        return sorted({int(name[:6]) for name in self.part_names()})

    def part_names(self) -> list[str]:
        """File names of all parts, sorted."""
        return [name for name in self.store.list(self.folder) if name.endswith(".parquet")]

    def metadata(self, shard: int) -> Iterator[Mapping[str, str]]:
        """The footer of each part of a shard, without its values (our keys without prefix)."""
        for _, file in self._open_parts(shard):
            yield _footer(pq.ParquetFile(file).schema_arrow)

    def covered(self, shard: int) -> np.ndarray:
        """Sorted numbers of the rows that the table has of a shard."""
        rows = [decode_rows(footer["rows"]) for footer in self.metadata(shard)]
        return np.sort(np.concatenate(rows)) if rows else np.empty(0, np.int64)

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table | None:
        """All rows of a shard, sorted by row; None if it has no part.

        Columns that a part lacks (an upstream column that another source has) are null there.
        """
        tables = [_read(file, columns) for _, file in self._open_parts(shard)]
        if not tables:
            return None
        tables = [table.replace_schema_metadata(None) for table in tables]
        if len(tables) == 1:
            return tables[0]
        whole = pa.concat_tables(tables, promote_options="default")
        return whole.sort_by("row") if "row" in whole.column_names else whole

    def sql(self) -> str:
        """A SQL source of all rows; there must be a part."""
        return parts_sql(self.store, self.folder)

    def append(self, shard: int, table: pa.Table, footer: Mapping[str, str]) -> int:
        """Commits rows of a shard as one new part.

        Rows that another writer committed first are dropped.

        Args:
            shard: The shard that all rows are of.
            table: Rows, sorted by row, with the key columns.
            footer: Our own metadata, for example the tar's size.

        Returns:
            How many rows were committed.
        """
        number, taken = 0, np.empty(0, np.int64)
        for number_seen, file in self._open_parts(shard):
            taken = np.concatenate(
                [taken, decode_rows(_footer(pq.ParquetFile(file).schema_arrow)["rows"])]
            )
            number = number_seen + 1
        while True:
            rows = table.column("row").to_numpy()
            fresh = ~np.isin(rows, taken)
            if not fresh.all():
                table = table.filter(pa.array(fresh))
                rows = rows[fresh]
            # An empty first part is written all the same: it says that the shard was done.
            if number > 0 and not len(rows):
                return 0
            name = f"{self.folder}/{shard:06d}-{number}.parquet"
            content = {
                **footer,
                "table": self.name,
                "config_hash": self.config_hash,
                "shard": str(shard),
                "rows": encode_rows(rows),
            }
            if self.store.create(name, encode_part(table, content)):
                return len(rows)
            # Another writer was faster: its rows stay, and those it lacks go into the next part.
            winner = _footer(pq.ParquetFile(pa.BufferReader(self.store.read(name))).schema_arrow)
            taken = np.concatenate([taken, decode_rows(winner["rows"])])
            number += 1

    def _open_parts(self, shard: int) -> Iterator[tuple[int, pa.NativeFile]]:
        """A shard's parts, by number; they are numbered without gaps, so no listing is needed."""
        number = 0
        while True:
            name = f"{self.folder}/{shard:06d}-{number}.parquet"
            try:
                data = self.store.read(name)
            except FileNotFoundError:
                return
            yield number, pa.BufferReader(data)
            number += 1


def _read(file: pa.NativeFile, columns: Sequence[str] | None) -> pa.Table:
    """A part's columns, in the part's order."""
    part = pq.ParquetFile(file)
    # Threads take longer to start than parts of some 10,000 rows to read.
    if columns is None:
        return part.read(use_threads=False)
    table = part.read(columns=[name for name in columns if name != "row"], use_threads=False)
    if "row" not in columns:
        return table
    # The footer has it, and is read anyway.
    schema = part.schema_arrow
    before = [name for name in schema.names[: schema.get_field_index("row")] if name in columns]
    rows = _row_numbers(_footer(schema)["rows"], schema.field("row").type)
    return table.add_column(len(before), schema.field("row"), rows)


@lru_cache(maxsize=64)  # all tables of a shard have the same
def _row_numbers(text: str, kind: pa.DataType) -> pa.Array:
    return pa.array(decode_rows(text), kind)


def encode_part(table: pa.Table, footer: Mapping[str, str]) -> bytes:
    """A part's bytes; the same rows give the same bytes.

    They are zstd, with statistics, row groups of 25,000, and our footer under `nucleus.*`. Only
    texts get a dictionary, and not ids, each of which is there once. Of measured numbers, most of
    which are there once, it takes a fifth more space, and twice the time to write.
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
    """The Parquet paths of a column's texts."""
    path = f"{path}.{field.name}" if path else field.name
    if pa.types.is_struct(field.type):
        for child in field.type:
            yield from _texts(child, path)
    elif isinstance(field.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        yield from _texts(field.type.value_field.with_name("element"), f"{path}.list")
    elif pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        yield path


def parts_glob(store: Store, folder: str) -> str:
    """A DuckDB pattern of all parts in a folder, whatever characters the corpus's path has."""
    return re.sub(r"([*?\[])", r"[\1]", store.url(folder)) + "/*.parquet"


def parts_sql(store: Store, folder: str) -> str:
    """DuckDB SQL that reads all parts in a folder."""
    pattern = parts_glob(store, folder).replace("'", "''")
    return f"read_parquet('{pattern}', union_by_name = true)"


def _footer(schema: pa.Schema) -> Mapping[str, str]:
    """Our keys of a part's footer, without their prefix."""
    metadata = schema.metadata or {}
    footer = {
        key.decode()[len(PREFIX) :]: value.decode()
        for key, value in metadata.items()
        if key.startswith(PREFIX.encode())
    }
    if "rows" not in footer:
        raise CorpusError(
            "a Parquet file without a nucleus footer lies in a table's folder; move it away"
        )
    return footer


def missing_rows(rows: pa.Table, covered: np.ndarray) -> pa.Table:
    """Those rows whose number is not among the covered ones."""
    return rows.filter(pc.invert(pc.is_in(rows.column("row"), pa.array(covered, pa.int32()))))
