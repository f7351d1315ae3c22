"""Which rows of a Parquet file can't be read, for messages: a row group is lost as a whole."""

from collections.abc import Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 1024
SHOWN = 3  # row groups


def damaged_rows(file: IO[bytes], columns: Sequence[str] | None = None) -> str:
    """Tells which rows of a Parquet file are damaged and what to do, to end a message with.

    Args:
        file: The file; all of it is read.
        columns: Columns that are needed; by default all.

    Returns:
        The words; empty if the file as a whole can't be read, or all of it can.
    """
    try:
        parquet = pq.ParquetFile(file, pre_buffer=False)
    except (OSError, pa.ArrowException):
        return ""
    found, first = [], 1
    for group in range(parquet.num_row_groups):
        end = first + parquet.metadata.row_group(group).num_rows
        try:
            for _ in parquet.iter_batches(BATCH, row_groups=[group], columns=columns):
                pass
        except (OSError, pa.ArrowException):
            found.append(f"{first:,} to {end - 1:,}")
        first = end
    if not found:
        return ""
    more = f" and in {len(found) - SHOWN:,} more row groups" if len(found) > SHOWN else ""
    return (
        f"; damage is in its rows {', '.join(found[:SHOWN])}{more}, of {first - 1:,}: "
        "write the others to a new file, and give that"
    )
