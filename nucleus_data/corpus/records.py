"""The table `records`, read as it stands now: a download that was tried again counts once.

Parts and tars never change, so `nucleus retry` puts what it downloads into image shards of its own.
Their records have the ids of the failed ones, and `_retried/`, beside the table's parts and aligned
with the shards of the *failed* records, says which shard holds each of them now. A failed record is
superseded at the moment when that shard's records are committed, not earlier; so at any moment an
id is there exactly once. Whoever reads `records` does it through this class or its SQL; the parts
themselves also hold the superseded rows, all of them with `retryable`.
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
    """The records of a corpus, without those that a retry has superseded."""

    @property
    def retried(self) -> Table:
        """Failed records that were downloaded again: their key, and `by`, the newer shard."""
        return Table(self.store, self.name, self.config_hash, folder=f"{self.folder}/_retried")

    def superseded(self, shard: int) -> np.ndarray:
        """Sorted numbers of the rows of a shard in whose place a newer shard's records stand."""
        marks = self.retried.read(shard, ["row", "by"])
        if marks is None:
            return np.empty(0, np.int64)
        newer = pc.unique(marks.column("by")).to_pylist()
        there = [n for n in newer if self._has_part(n)]
        chosen = marks.filter(pc.is_in(marks.column("by"), pa.array(there, pa.int32())))
        return np.sort(chosen.column("row").to_numpy())

    def _has_part(self, shard: int) -> bool:
        name = f"{self.folder}/{shard:06d}-0.parquet"
        return not self.store.lacks(name) and self.store.exists(name)

    def superseded_counts(self, marks: Sequence[str]) -> dict[int, int]:
        """How many rows of each shard are superseded.

        Args:
            marks: File names of parts of `retried`, read many at once.
        """
        there = set(self.shards()) if marks else set()

        def one(name: str) -> tuple[int, int]:
            shard = self.shard_of(name)
            found = self.retried.read_part(name).column("by").to_pylist()
            return shard, sum(by in there for by in found)

        gone: dict[int, int] = {}
        for shard, count in at_once(self.store, one, marks):
            gone[shard] = gone.get(shard, 0) + count
        return gone

    def covered(self, shard: int) -> np.ndarray:
        """Sorted numbers of the rows that the table has of a shard."""
        return np.setdiff1d(super().covered(shard), self.superseded(shard))

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table | None:
        """All rows of a shard, sorted by row; None if it has no part."""
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
        """A SQL source of all rows."""
        parts = parts_sql(self.store, self.folder)
        if not self.retried.whole_parts():
            return parts
        return (
            f"(SELECT r.* FROM {parts} r ANTI JOIN "
            f"(SELECT m.shard, m.row FROM {self.retried.sql()} m "
            f"SEMI JOIN {parts} n ON n.shard = m.by) s ON r.shard = s.shard AND r.row = s.row)"
        )

    def supersede(self, places: pa.Table, by: int) -> None:
        """Says, before they are committed, that a shard's records will stand for failed ones.

        Args:
            places: `shard`, `row` and `id` of the failed records.
            by: The newer shard.

        Raises:
            CorpusError: Another shard stands for one of them already.
        """
        marks = places.append_column("by", pa.array([by] * places.num_rows, pa.int32()))
        marks = marks.select(RETRIED_SCHEMA.names).cast(RETRIED_SCHEMA)
        for shard in sorted(pc.unique(marks.column("shard")).to_pylist()):
            mine = marks.filter(pc.equal(marks.column("shard"), shard)).sort_by("row")
            self.retried.append(shard, mine, {})
            known = self.retried.read(shard)
            assert known is not None
            stands = dict(zip(known["row"].to_pylist(), known["by"].to_pylist(), strict=True))
            if any(stands[row] != by for row in mine["row"].to_pylist()):
                raise CorpusError(
                    f"image shard {by:06d} tries records of shard {shard:06d} again that another "
                    "shard stands for already; its records would be there twice"
                )
