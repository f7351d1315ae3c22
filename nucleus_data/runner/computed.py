"""Results of a column stage for a shard, until they are committed with the shard's other rows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.runner.work import Summary

ERROR = "error"


@dataclass(frozen=True)
class Computed:
    """The result for one piece.

    Attributes:
        rows: The records.
        tables: The rows of each wanted table, as they are stored.
    """

    rows: pa.Table
    tables: Mapping[str, pa.Table]

    def count(self, summary: Summary) -> None:
        """Adds the rows to a shard's counts; a reason counts once per row, whatever the tables."""
        done = np.zeros(self.rows.num_rows, bool)
        reasons: dict[str, np.ndarray] = {}
        for name, table in self.tables.items():
            errors = table.column(ERROR)
            done |= np.asarray(errors.is_null())
            summary.tables[name].done += errors.null_count
            for error in errors.unique().drop_null().to_pylist():
                has_reason = np.asarray(pc.fill_null(pc.equal(errors, error), fill_value=False))
                reason = error.split(":")[0]
                summary.tables[name].failed[reason] += int(has_reason.sum())
                reasons[reason] = reasons.get(reason, False) | has_reason
        summary.done += int(done.sum())
        summary.failed.update(
            {reason: int(has_reason.sum()) for reason, has_reason in reasons.items()}
        )


def joined(tables: list[pa.Table], part: pa.Table | None) -> pa.Table | None:
    """Joins one table's rows, sorted by row; None if there are none.

    Args:
        tables: Rows from pieces.
        part: Rows that were processed on their own.
    """
    if not tables:
        return part
    whole = [*tables, *([part] if part is not None else [])]
    if len(whole) == 1:
        return whole[0]
    rows = pa.concat_tables(whole, promote_options="default").sort_by("row")
    return rows.combine_chunks()  # so that the stored bytes do not depend on the pieces
