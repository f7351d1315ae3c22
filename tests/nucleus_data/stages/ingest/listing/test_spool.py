import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.stages.ingest.listing import spool
from nucleus_data.stages.ingest.listing.spool import Spool, batches

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])


def test_rows_are_written_in_their_order_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "BATCH", 4)
    with Spool(tmp_path / "rows.parquet", SCHEMA) as rows:
        rows.add({"n": 0, "text": "first"})
        rows.add_all(({"n": n} for n in range(1, 100)), limit=9)
        assert rows.count == 10
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    assert file.metadata.num_row_groups == 3
    found = file.read().to_pylist()
    assert [row["n"] for row in found] == list(range(10))
    assert [row["text"] for row in found] == ["first", *[None] * 9]


def test_what_was_read_of_a_file_is_not_kept(tmp_path):
    rows = np.random.default_rng(0).integers(0, 1 << 62, 1_000_000)
    pq.write_table(pa.table({"n": rows}), tmp_path / "rows.parquet", row_group_size=spool.BATCH)
    before, count, most = pa.total_allocated_bytes(), 0, 0
    for batch in batches(tmp_path / "rows.parquet", ["n", "not there"]):
        count += len(batch)
        most = max(most, pa.total_allocated_bytes() - before)
    assert count == len(rows)
    assert most < rows.nbytes / 8
