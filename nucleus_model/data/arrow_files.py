"""Local copies of tables in Arrow's file format, which are memory-mapped."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_model.data.local_files import LocalFiles

TARS = "tars.arrow"


def write_tars(manifest: pa.Table, resolution: int, folder: Path) -> None:
    """Writes the list of a resolution's tars (`tars.arrow`) for `Tables`, unless it exists.

    Args:
        manifest: The set's manifest.
        resolution: The resolution.
        folder: The folder of local copies.
    """
    rows = manifest.filter(pc.equal(manifest.column("resolution"), resolution)).sort_by("path")
    samples = rows.column("samples").to_numpy()
    table = rows.select(["path", "aspect", "width", "height", "samples", "bytes"]).append_column(
        "first", pa.array(np.cumsum(samples) - samples, pa.int64())
    )
    LocalFiles(folder, 1 << 40).get(TARS, lambda: as_ipc(table))


def as_ipc(table: pa.Table) -> bytes:
    """Encodes a table in Arrow's file format, which can be memory-mapped."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def from_ipc(data: memoryview) -> pa.Table:
    """Decodes the result of `as_ipc`, without copying."""
    return pa.ipc.open_file(pa.py_buffer(data)).read_all()
