"""Local copies of tables as files in Arrow's format, which are mapped into memory, not read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_model.data.local_files import LocalFiles

TARS = "tars.arrow"


def write_tars(manifest: pa.Table, resolution: int, folder: Path) -> None:
    """Writes which tars a resolution has, for `Tables`; does nothing if it is there.

    Args:
        manifest: Of the set.
        resolution: Which tars.
        folder: Of the copies.
    """
    rows = manifest.filter(pc.equal(manifest.column("resolution"), resolution)).sort_by("path")
    samples = rows.column("samples").to_numpy()
    table = rows.select(["path", "aspect", "width", "height", "samples", "bytes"]).append_column(
        "first", pa.array(np.cumsum(samples) - samples, pa.int64())
    )
    LocalFiles(folder, 1 << 40).get(TARS, lambda: as_ipc(table))


def as_ipc(table: pa.Table) -> bytes:
    """A table as Arrow's file format, which can be mapped."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def from_ipc(data: memoryview) -> pa.Table:
    """The inverse of `as_ipc`; nothing is copied."""
    return pa.ipc.open_file(pa.py_buffer(data)).read_all()
