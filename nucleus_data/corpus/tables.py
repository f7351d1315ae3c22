"""Tables made of Parquet parts, each of which is its own commit.

`tables/<name>/<config hash>/000017-0.parquet` is part 0 of shard 17. Parts of a shard never share a
row and are numbered without gaps; who loses the race for a number drops the rows that the winner
wrote and takes the next one. So `*.parquet` is right for any tool at any moment. The footer says
which rows a part holds, so that coverage is known without reading values.

Failures that may pass (a killed worker) lie beside the parts, in `_failed/`, until `nucleus retry`
tries again; a row of the table outweighs them.
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

FAILED_SCHEMA = pa.schema(
    [*KEY_FIELDS, pa.field("reason", pa.string()), pa.field("detail", pa.string())]
)
# Behind these where a failure has it.
FAILED_ATTEMPTS = pa.field("attempts", pa.int32())
# Of the table `dedup`, which has no part where no pair was found.
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


def table_schema(values: pa.Schema, *, error: bool = True) -> pa.Schema:
    """A table's full schema: key, values, and (if it is measured) a failure's reason code."""
    tail = [pa.field("error", pa.string())] if error else []
    return pa.schema([*KEY_FIELDS, *values, *tail])


def plain(name: str) -> str:
    """A table's name without the hash that tells it apart among a run's pins."""
    return name.partition("@")[0]


class Table:
    """One table of a corpus, at one config hash.

    Args:
        store: The corpus's store.
        name: Table name, for example `inspect.tone`. What follows an `@` is not part of it: among a
            run's pins, two hashes of one table have two names (`caption.short@1a2b3c4d5e6f7a8b`).
        config_hash: What identifies its values.
        folder: Where it lies; `tables/<name>/<config hash>` by default.
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
        """The failures of this table that may pass."""
        return Table(self.store, self.name, self.config_hash, folder=f"{self.folder}/_failed")

    def shards(self) -> list[int]:
        """Shards that have at least one part, ascending."""
        return sorted({self.shard_of(name) for name in self.whole_parts()})

    def part_names(self) -> list[str]:
        """File names of all parts, sorted as texts: hashes are made of them in this order."""
        return [name for name in self.store.list(self.folder) if name.endswith(".parquet")]

    def whole_parts(self) -> list[str]:
        """File names of the parts that are not left out as damaged, sorted."""
        left_out = self.store.left_out
        return [name for name in self.part_names() if f"{self.folder}/{name}" not in left_out]

    def metadata(self, shard: int) -> Iterator[Mapping[str, str]]:
        """The footer of each part of a shard, without its values (our keys without prefix)."""
        for _, part in self._open_parts(shard):
            yield part.footer

    def footers(self, parts: Iterable[str] | None = None) -> Iterator[Footer]:
        """The footers of parts, in their order, many read at once.

        Args:
            parts: File names; by default all that are not left out as damaged, by shard.
        """
        names = self.whole_parts() if parts is None else parts
        expected = ((f"{self.folder}/{n}", self._expected(self.shard_of(n))) for n in names)
        return read_footers(self.store, expected)

    def covered(self, shard: int) -> np.ndarray:
        """Sorted numbers of the rows that the table has of a shard."""
        rows = [decode_rows(footer["rows"]) for footer in self.metadata(shard)]
        return np.sort(np.concatenate(rows)) if rows else np.empty(0, np.int64)

    def count(self, shard: int) -> int:
        """How many rows all parts of a shard have, from their footers."""
        return sum(part.num_rows for _, part in self._open_parts(shard))

    def count_failed(self, shard: int) -> int:
        """How many rows of a shard have an error and no values, from the parts' statistics."""
        return sum(part.count("error") for _, part in self._open_parts(shard))

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table | None:
        """All rows of a shard, sorted by row; None if it has no part.

        Columns that a part lacks (an upstream column that another source has) are null there.

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
        """All of a part. Raises DamagedError if it cannot be read."""
        return Part(self.store, f"{self.folder}/{part}", self._expected(self.shard_of(part))).read()

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
        for number_seen, part in self._open_parts(shard):
            taken = np.concatenate([taken, decode_rows(part.footer["rows"])])
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
            winner = Part(self.store, name, self._expected(shard)).footer
            taken = np.concatenate([taken, decode_rows(winner["rows"])])
            number += 1

    def parts(self, shard: int) -> Iterator[Part]:
        """A shard's parts, by number."""
        return (part for _, part in self._open_parts(shard))

    def _open_parts(self, shard: int) -> Iterator[tuple[int, Part]]:
        """A shard's parts, by number; they are numbered without gaps, so no listing is needed."""
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
        """The number of the shard in a part's name."""
        number = part.partition("-")[0]
        if not number.isdecimal():
            name = f"{self.folder}/{part}"
            raise damaged(self.store, name, "its name is not that of a part, like 000017-0.parquet")
        return int(number)

    def _expected(self, shard: int) -> Mapping[str, str]:
        """What a part's footer says of itself, if it is one of this table and shard."""
        return {"table": self.name, "config_hash": self.config_hash, "shard": str(shard)}


def parts_glob(store: Store, folder: str) -> str:
    """A DuckDB pattern of all parts in a folder, whatever characters the corpus's path has."""
    return _escaped(store.url(folder)) + "/*.parquet"


def left_out_shards(tables: Iterable["Table"]) -> set[int]:
    """Shards of which some table is read without a damaged part."""
    names = (n for table in tables for n in {*table.part_names()} - {*table.whole_parts()})
    return {int(n.partition("-")[0]) for n in names if n.partition("-")[0].isdecimal()}


def parts_sql(store: Store, folder: str) -> str:
    """DuckDB SQL that reads all parts in a folder, but for those left out as damaged."""
    return f"read_parquet({parts_of(store, folder)}, union_by_name = true)"


def parts_of(store: Store, folder: str) -> str:
    """DuckDB SQL of the parts in a folder: a pattern; or a list, where some are left out.

    Raises:
        DamagedError: A folder lies in a part's place. The pattern would pass over it.
    """
    for name in (f"{folder}/{name}" for name in store.folders(folder)):
        if name.endswith(".parquet") and name not in store.left_out:
            raise damaged(store, name, IsADirectoryError())
    if not any(name.startswith(f"{folder}/") for name in store.left_out):
        return _literal(parts_glob(store, folder))
    names = (f"{folder}/{name}" for name in store.list(folder) if name.endswith(".parquet"))
    return parts_list(store.url(name) for name in names if name not in store.left_out)


def parts_list(urls: Iterable[str]) -> str:
    """DuckDB SQL of a list of files."""
    return f"[{', '.join(_literal(_escaped(url)) for url in urls)}]"


def missing_rows(rows: pa.Table, covered: np.ndarray) -> pa.Table:
    """Those rows whose number is not among the covered ones."""
    return rows.filter(pc.invert(pc.is_in(rows.column("row"), pa.array(covered, pa.int32()))))


def _escaped(path: str) -> str:
    """A path in which DuckDB finds no pattern."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
