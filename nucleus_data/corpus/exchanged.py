"""Arrow files that the passes of a stage leave for each other, beside the table that they make."""

import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError


def put(store: Store, name: str, table: pa.Table) -> None:
    """Writes an Arrow file whose rows are the same whoever writes it.

    Raises:
        CorpusError: It is there with other rows.
    """
    sink = pa.BufferOutputStream()
    # Parquet would take seven times as long for the answers, and half as much space again.
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, table.schema, options=options) as file:
        file.write_table(table.combine_chunks())
    if store.create(name, sink.getvalue().to_pybytes()):
        return
    # Equal tables may be different files: what stands under a null is any bytes.
    there = get(store, name)
    if there is None or not _bits(there).equals(_bits(table)):
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


def _bits(table: pa.Table) -> pa.Table:
    """A table whose numbers are compared by their bits: no NaN equals another one."""
    for i, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            kind = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[field.type.bit_width]
            bits = [chunk.view(kind) for chunk in table.column(i).chunks]
            table = table.set_column(i, field.name, pa.chunked_array(bits, kind))
    return table
