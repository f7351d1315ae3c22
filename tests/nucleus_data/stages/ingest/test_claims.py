import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nucleus_data.stages.ingest.claims import chunks
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import put, tiny, tree


def test_a_claim_holds_no_credentials(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny()})
    options = {"auto_mkdir": True}
    plan_ingest(corpus, IngestSettings(source=str(source), storage_options=options))
    assert b"auto_mkdir" not in b"".join(tree(tmp_path / "corpus").values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 100), min_size=1, max_size=60),
    most_rows=st.integers(1, 20),
    most_bytes=st.integers(1, 300),
)
def test_chunks_keep_order_and_limits(tmp_path, sizes, most_rows, most_bytes):
    path = tmp_path / "rows.parquet"
    table = pa.table({"position": range(len(sizes)), "n": range(len(sizes)), "size": sizes})
    pq.write_table(table, path)
    cut = list(chunks(path, most_rows, most_bytes))
    assert [n for part in cut for n in part["n"].to_pylist()] == list(range(len(sizes)))
    for place, part in enumerate(cut):
        total = np.sum(part["size"].to_numpy())
        assert 0 < len(part) <= most_rows
        assert total <= most_bytes or len(part) == 1
        if place + 1 < len(cut):  # no shard is closed before it must be
            assert len(part) == most_rows or total + cut[place + 1]["size"][0].as_py() > most_bytes
