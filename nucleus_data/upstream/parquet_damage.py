"""Finds the rows of a Parquet file that can't be read, by row groups, for messages."""

from collections.abc import Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 1024
SHOWN = 3  # maximum number of row groups in a message


def damaged_rows(file: IO[bytes], columns: Sequence[str] | None = None) -> str:
    """Describes which rows of a Parquet file are damaged, and what to do, for a message's end.

    Args:
        file: The file, which is read completely.
        columns: Columns to read; None for all.

    Returns:
        The text; empty if the file can't be opened, or is not damaged.
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
        f"; the damage is in rows {', '.join(found[:SHOWN])}{more}, of {first - 1:,}: "
        "write the others to a new file, and use that"
    )
