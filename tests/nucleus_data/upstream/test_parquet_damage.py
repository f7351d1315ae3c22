import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.upstream.parquet_damage import damaged_rows
from nucleus_data.upstream.rows import read_rows


@pytest.mark.parametrize(
    ("groups", "columns", "words"),
    [
        ([1], None, "rows 11 to 20, of 40: "),
        ([0, 3], ["text"], "rows 1 to 10, 31 to 40, of 40: "),
        ([0, 1, 2, 3], None, "rows 1 to 10, 11 to 20, 21 to 30 and in 1 more row groups, of 40: "),
        ([2], ["name"], ""),
        ([], None, ""),
    ],
)
def test_rows_of_damaged_row_groups_are_told(groups, columns, words):
    told = damaged_rows(io.BytesIO(parquet(groups)), columns)
    assert told.startswith(f"; the damage is in {words}") if words else told == ""


def test_of_what_is_no_parquet_no_rows_are_told():
    assert damaged_rows(io.BytesIO(parquet([])[:-30])) == ""


def test_reading_rows_tells_them_too():
    file = io.BytesIO(parquet([3]))
    with pytest.raises(RequestError, match=r"^c\.parquet can't be read: .*rows 31 to 40, of 40"):
        list(read_rows("parquet", file, ("name", "text"), "c.parquet"))


def parquet(damaged):
    """Four row groups of ten rows, of which the texts of some are overwritten."""
    names = [f"{n}.png" for n in range(40)]
    table = pa.table({"name": names, "text": [f"the text of {name}" for name in names]})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=10, use_dictionary=False)
    content = bytearray(sink.getvalue())
    for group in damaged:
        chunk = pq.read_metadata(io.BytesIO(content)).row_group(group).column(1)
        start, size = chunk.data_page_offset, chunk.total_compressed_size
        content[start : start + size] = b"\xff" * size
    return bytes(content)
