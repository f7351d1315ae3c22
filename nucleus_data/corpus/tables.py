"""Tables made of Parquet parts, where each part is one atomic commit.

`tables/<name>/<config hash>/000017-0.parquet` is part 0 of shard 17. The parts of a shard have no
row in common, and are numbered without gaps. If two writers race for a number, the loser drops the
rows that the winner wrote, and commits the rest under the next number. So the glob `*.parquet` is
consistent at any moment, for any tool. A part's footer lists its rows, so that coverage is known
without reading values.

Retryable failures (such as a killed worker) are in `_failed/`, beside the parts, until `nucleus
retry` processes them again. A row in the table takes precedence over its failure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus.damaged import damaged
from nucleus_data.corpus.footers import Footer, read_footers
from nucleus_data.corpus.parts import KEY_FIELDS, Part, encode_part
from nucleus_data.corpus.store import Store
from nucleus_data.hashing import decode_rows, encode_rows
from nucleus_data.sql import literal

FAILED_SCHEMA = pa.schema(
    [*KEY_FIELDS, pa.field("reason", pa.string()), pa.field("detail", pa.string())]
)
# Appended to `FAILED_SCHEMA` in parts where a failure has a number of attempts. Columns of the
# table itself follow where a failure has values for them.
FAILED_ATTEMPTS = pa.field("attempts", pa.int32())
# Schema of the table `dedup`, which has no part if no pair was found.
PAIRS_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("id", pa.string()),
        ("other_shard", pa.int32()),
        ("other_row", pa.int32()),
        ("other_id", pa.string()),
        ("distance", pa.int8()),
        ("distance256", pa.int16()),
        ("aspect_difference", pa.float32()),
        ("exact", pa.bool_()),
    ]
)
# Columns of the other record that parts of `dedup` also have if there are rows of crowds in them.
CROWD_FIELDS = (
    pa.field("other_phash", pa.uint64()),
    pa.field("other_hash256", pa.binary(32)),
    pa.field("other_width", pa.int32()),
    pa.field("other_height", pa.int32()),
)
CROWDED_PAIRS_SCHEMA = pa.schema([*PAIRS_SCHEMA, *CROWD_FIELDS])


def table_schema(values: pa.Schema, *, error: bool = True) -> pa.Schema:
    """Returns a table's full schema: key, values, and (unless `error` is False) a reason code."""
    tail = [pa.field("error", pa.string())] if error else []
    return pa.schema([*KEY_FIELDS, *values, *tail])


def plain(name: str) -> str:
    """Returns a table's name without the `@HASH` that some of a run's pins have."""
    return name.partition("@")[0]


class Table:
    """One table of a corpus, at one config hash.

    Args:
        store: The corpus's store.
        name: Table name, for example `inspect.tone`. A suffix `@HASH` is ignored: a run's pins need
            it to name two versions of one table (`caption.short@1a2b3c4d5e6f7a8b`).
        config_hash: Hash of everything that determines its values.
        folder: Its folder below the corpus; by default `tables/<name>/<config hash>`.
    """

    def __init__(
        self, store: Store, name: str, config_hash: str, *, folder: str | None = None
    ) -> None:
        self.store = store
        self.name = plain(name)
        self.config_hash = config_hash
        self.folder = folder or f"tables/{self.name}/{config_hash}"

    @property
    def failed(self) -> "Table":
        """The table of this table's retryable failures."""
        return Table(self.store, self.name, self.config_hash, folder=f"{self.folder}/_failed")

    def with_companions(self) -> dict[str, "Table"]:
        """Returns this table and those beside it: `parts`, `failed`, and of records `marks`."""
        return {"parts": self, "failed": self.failed}

    def shards(self) -> list[int]:
        """Shards that have at least one part, ascending."""
        return sorted({self.shard_of(name) for name in self.whole_parts()})

    def part_names(self) -> list[str]:
        """File names of all parts, sorted as strings; config hashes depend on this order."""
        return [name for name in self.store.list(self.folder) if name.endswith(".parquet")]

    def whole_parts(self) -> list[str]:
        """File names of the parts, sorted, without those left out as damaged (`Store.without`)."""
        left_out = self.store.left_out
        return [name for name in self.part_names() if f"{self.folder}/{name}" not in left_out]

    def metadata(self, shard: int) -> Iterator[Mapping[str, str]]:
        """Yields our keys in the footer of each part of a shard, without their prefix."""
        for _, part in self._open_parts(shard):
            yield part.footer

    def footers(self, parts: Iterable[str] | None = None) -> Iterator[Footer]:
        """Yields the footers of parts, in order; many are read concurrently.

        Args:
            parts: File names; None for all parts that are not left out as damaged.

        Raises:
            DamagedError: A part can't be read, or belongs to another table or shard.
        """
        names = self.whole_parts() if parts is None else parts
        expected = (
            (f"{self.folder}/{name}", self._expected(self.shard_of(name))) for name in names
        )
        return read_footers(self.store, expected)

    def covered(self, shard: int) -> np.ndarray:
        """Returns the numbers of the rows of a shard that the table has, ascending."""
        rows = [decode_rows(footer["rows"]) for footer in self.metadata(shard)]
        return np.sort(np.concatenate(rows)) if rows else np.empty(0, np.int64)

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Returns all rows of a shard, sorted by row; None if it has no part.

        Values are null where a part lacks a column, as with upstream columns of another source.

        Raises:
            DamagedError: A part cannot be read.
        """
        tables = [part.read(columns) for _, part in self._open_parts(shard)]
        if not tables:
            return None
        tables = [table.replace_schema_metadata(None) for table in tables]
        if len(tables) == 1:
            return tables[0]
        whole = pa.concat_tables(tables, promote_options="default")
        return whole.sort_by("row") if "row" in whole.column_names else whole

    def read_part(self, part: str) -> pa.Table:
        """Returns all rows of a part, by its file name. Raises DamagedError if it can't be read."""
        return Part(self.store, f"{self.folder}/{part}", self._expected(self.shard_of(part))).read()

    def sql(self) -> str:
        """Returns a DuckDB source of all rows; the table must have a part."""
        return parts_sql(self.store, self.folder)

    def append(self, shard: int, table: pa.Table, footer: Mapping[str, str]) -> int:
        """Commits rows of a shard as one new part, without rows that were committed before.

        Args:
            shard: The shard of all rows.
            table: The rows, sorted by row, with the key columns.
            footer: Further keys for the part's footer, such as the tar's size.

        Returns:
            The number of committed rows.
        """
        number, taken = 0, np.empty(0, np.int64)
        for number_seen, part in self._open_parts(shard):
            taken = np.concatenate([taken, decode_rows(part.footer["rows"])])
            number = number_seen + 1
        while True:
            rows = table.column("row").to_numpy()
            fresh = ~np.isin(rows, taken)
            if not fresh.all():
                table = table.filter(pa.array(fresh))
                rows = rows[fresh]
            # An empty first part is still written: it marks the shard as done.
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
            # Another writer took this number: keep its rows, and try the next number with the rest.
            winner = Part(self.store, name, self._expected(shard)).footer
            taken = np.concatenate([taken, decode_rows(winner["rows"])])
            number += 1

    def parts(self, shard: int) -> Iterator[Part]:
        """Yields a shard's parts, by number."""
        return (part for _, part in self._open_parts(shard))

    def _open_parts(self, shard: int) -> Iterator[tuple[int, Part]]:
        """Yields (number, part) of a shard. Numbers have no gaps, so no listing is needed."""
        for number in count():
            name = f"{self.folder}/{shard:06d}-{number}.parquet"
            if name in self.store.left_out:
                continue
            if self.store.lacks(name):
                return
            try:
                part = Part(self.store, name, self._expected(shard))
            except FileNotFoundError:
                return
            yield number, part

    def shard_of(self, part: str) -> int:
        """Returns the shard's number from a part's file name. Raises DamagedError."""
        number = part.partition("-")[0]
        if not number.isdecimal():
            name = f"{self.folder}/{part}"
            raise damaged(
                self.store, name, "it does not have the name of a part, such as 000017-0.parquet"
            )
        return int(number)

    def _expected(self, shard: int) -> Mapping[str, str]:
        """Returns the keys that the footer of a part of this table and shard must have."""
        return {"table": self.name, "config_hash": self.config_hash, "shard": str(shard)}


def parts_glob(store: Store, folder: str) -> str:
    """Returns a DuckDB glob of all parts in a folder, with the path escaped."""
    return _escaped(store.url(folder)) + "/*.parquet"


def left_out_shards(tables: Iterable["Table"]) -> set[int]:
    """Returns the shards in which at least one table is read without a damaged part."""
    names = (name for table in tables for name in {*table.part_names()} - {*table.whole_parts()})
    numbers = (name.partition("-")[0] for name in names)
    return {int(number) for number in numbers if number.isdecimal()}


def parts_sql(store: Store, folder: str) -> str:
    """Returns DuckDB SQL that reads the parts in a folder, except those left out as damaged."""
    return f"read_parquet({parts_of(store, folder)}, union_by_name = true)"


def parts_of(store: Store, folder: str) -> str:
    """Returns the parts in a folder as a DuckDB literal: a glob, or a list if some are left out.

    Raises:
        DamagedError: There is a folder in a part's place, which a glob would skip silently.
    """
    for name in (f"{folder}/{name}" for name in store.folders(folder)):
        if name.endswith(".parquet") and name not in store.left_out:
            raise damaged(store, name, IsADirectoryError())
    if not any(name.startswith(f"{folder}/") for name in store.left_out):
        return literal(parts_glob(store, folder))
    names = (f"{folder}/{name}" for name in store.list(folder) if name.endswith(".parquet"))
    return parts_list(store.url(name) for name in names if name not in store.left_out)


def parts_list(urls: Iterable[str]) -> str:
    """Returns a DuckDB list literal of files."""
    return f"[{', '.join(literal(_escaped(url)) for url in urls)}]"


def missing_rows(rows: pa.Table, covered: np.ndarray) -> pa.Table:
    """Returns the rows whose number is not in `covered`."""
    return rows.filter(pc.invert(pc.is_in(rows.column("row"), pa.array(covered, pa.int32()))))


def _escaped(path: str) -> str:
    """Escapes glob characters in a path, for DuckDB."""
    return re.sub(r"([*?\[])", r"[\1]", path)
