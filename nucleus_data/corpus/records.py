"""The table `records`, without failed downloads that were superseded by a retry.

Parts and tars never change, so `nucleus retry` puts its downloads into new image shards. Their
records have the ids of the failed ones. Beside the table's parts, `_retried/` has a mark for each
failed record, stored under the shard of the *failed* record: the number of the new shard. A mark
takes effect when the new shard's records are committed, not earlier. So at any moment, each id
occurs exactly once.

Read `records` only through this class or its `sql()`: the parts also contain the superseded rows
(all of them with `retryable`).
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.tables import KEY_FIELDS, Table, missing_rows, parts_sql
from nucleus_data.errors import CorpusError

RETRIED_SCHEMA = pa.schema([*KEY_FIELDS, pa.field("by", pa.int32(), nullable=False)])


class Records(Table):
    """The records of a corpus, without those that a retry superseded."""

    @property
    def retried(self) -> Table:
        """The marks: keys of failed records, and `by`, the shard with their new download."""
        return Table(self.store, self.name, self.config_hash, folder=f"{self.folder}/_retried")

    def with_companions(self) -> dict[str, Table]:
        """Returns this table and those beside it; `marks` is `retried`."""
        return {**super().with_companions(), "marks": self.retried}

    def superseded(self, shard: int) -> np.ndarray:
        """Returns the numbers of a shard's rows that were superseded, ascending."""
        marks = self.retried.read(shard, ["row", "by"])
        if marks is None:
            return np.empty(0, np.int64)
        newer = pc.unique(marks.column("by")).to_pylist()
        committed = [shard for shard in newer if self._has_part(shard)]
        effective = marks.filter(pc.is_in(marks.column("by"), pa.array(committed, pa.int32())))
        return np.sort(effective.column("row").to_numpy())

    def _has_part(self, shard: int) -> bool:
        name = f"{self.folder}/{shard:06d}-0.parquet"
        return not self.store.lacks(name) and self.store.exists(name)

    def superseded_counts(self, marks: Sequence[str]) -> dict[int, int]:
        """Returns shard -> number of its rows that were superseded.

        Args:
            marks: File names of parts of `retried`; many are read concurrently.
        """
        committed = set(self.shards()) if marks else set()

        def count_marks(name: str) -> tuple[int, int]:
            newer = self.retried.read_part(name).column("by").to_pylist()
            return self.shard_of(name), sum(shard in committed for shard in newer)

        counts: dict[int, int] = {}
        for shard, count in at_once(self.store, count_marks, marks):
            counts[shard] = counts.get(shard, 0) + count
        return counts

    def covered(self, shard: int) -> np.ndarray:
        """Returns the numbers of the rows of a shard that the table has, ascending."""
        return np.setdiff1d(super().covered(shard), self.superseded(shard))

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Returns all rows of a shard, sorted by row; None if it has no part."""
        gone = self.superseded(shard)
        if not len(gone):
            return super().read(shard, columns)
        asked = None if columns is None else list(dict.fromkeys([*columns, "row"]))
        table = super().read(shard, asked)
        if table is None:
            return None
        table = missing_rows(table, gone)
        if columns is None:
            return table
        return table.select([name for name in columns if name in table.column_names])

    def sql(self) -> str:
        """Returns a DuckDB source of the rows that count; the table must have a part."""
        parts = parts_sql(self.store, self.folder)
        if not self.retried.whole_parts():
            return parts
        return (
            f"(SELECT r.* FROM {parts} r ANTI JOIN "
            f"(SELECT m.shard, m.row FROM {self.retried.sql()} m "
            f"SEMI JOIN {parts} n ON n.shard = m.by) s ON r.shard = s.shard AND r.row = s.row)"
        )

    def supersede(self, places: pa.Table, by: int) -> None:
        """Marks failed records as superseded by a shard, before its records are committed.

        Args:
            places: `shard`, `row` and `id` of the failed records.
            by: The number of the newer shard.

        Raises:
            CorpusError: One of them has a mark of another shard.
        """
        marks = places.append_column("by", pa.array([by] * places.num_rows, pa.int32()))
        marks = marks.select(RETRIED_SCHEMA.names).cast(RETRIED_SCHEMA)
        for shard in sorted(pc.unique(marks.column("shard")).to_pylist()):
            new = marks.filter(pc.equal(marks.column("shard"), shard)).sort_by("row")
            self.retried.append(shard, new, {})
            stored = self.retried.read(shard)
            assert stored is not None
            newer = dict(zip(stored["row"].to_pylist(), stored["by"].to_pylist(), strict=True))
            if any(newer[row] != by for row in new["row"].to_pylist()):
                raise CorpusError(
                    f"image shard {by:06d} retries records of shard {shard:06d} that another shard "
                    "already replaces; they would appear twice"
                )
