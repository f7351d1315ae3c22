"""Numbers repeated values in files of any size, with bounded memory.

    sorted_rows("SELECT key, place FROM rows", ["key", "place"], sorted_, connection)
    number_repeated(sorted_, "key", target)  # key, place, again: 1 for the second row of a key

DuckDB sorts within its memory limit, but does not keep it for a window function over all rows of a
source: with 200 MB, planning failed from about two million URLs on.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nucleus_data.sql import literal
from nucleus_data.stages.ingest.listing.spool import BATCH, batches

AGAIN = "again"


def sorted_rows(
    query: str, order: Sequence[str], target: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    """Writes the rows of a query to a Parquet file, sorted by expressions."""
    connection.execute(
        f"COPY (SELECT * FROM ({query}) ORDER BY {', '.join(order)}) TO {literal(str(target))} "
        f"(FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
    )


def number_repeated(rows: Path, by: str, target: Path) -> None:
    """Writes the rows whose value occurs in earlier rows, with that number as a column `again`.

    Args:
        rows: A Parquet file, sorted by the column `by`.
        by: The column; has no NULL.
        target: The Parquet file to write.
    """
    with pq.ParquetFile(rows) as file:
        schema = file.schema_arrow.append(pa.field(AGAIN, pa.int64()))
    last, before = None, 0  # the last value of the previous batch, and how often it occurred
    with pq.ParquetWriter(target, schema) as writer:
        for batch in batches(rows):
            values, at = batch[by], np.arange(len(batch))
            new = np.ones(len(batch), np.bool_)
            new[1:] = pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
            # The start of each row's run of equal values; the first may start in an earlier batch.
            begins = np.maximum.accumulate(np.where(new, at, 0))
            if values[0].as_py() == last:
                begins[begins == 0] = -before
            again = at - begins
            last, before = values[-1].as_py(), int(again[-1]) + 1
            numbered = pa.Table.from_batches([batch]).append_column(AGAIN, pa.array(again))
            writer.write_table(numbered.filter(pc.field(AGAIN) > 0).cast(schema))
