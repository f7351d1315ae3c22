"""Arrow files that the passes of a stage leave for each other, beside the table that they make."""

import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError


def put(store: Store, name: str, table: pa.Table) -> None:
    """Writes an Arrow file that is the same whoever writes it.

    Raises:
        CorpusError: It is there with other content.
    """
    sink = pa.BufferOutputStream()
    # Parquet would take seven times as long for the answers, and half as much space again.
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, table.schema, options=options) as file:
        file.write_table(table.combine_chunks())
    if not store.create(name, sink.getvalue().to_pybytes()):
        raise CorpusError(f"{name} is there with other content; remove its folder and try again")


def get(store: Store, name: str) -> pa.Table | None:
    """A file that `put` wrote; None if it is not there."""
    try:
        content = store.read(name)
    except FileNotFoundError:
        return None
    with pa.ipc.open_file(content) as file:
        found: pa.Table = file.read_all()
    return found
