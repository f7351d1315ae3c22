import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import put_tar, tiny

ROWS = 2000
HARM = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "another kind": lambda data: b"<html>not found</html>",
    "footer": lambda data: data[:-60] + bytes(byte ^ 255 for byte in data[-60:-40]) + data[-40:],
    "page": lambda data: data[:2000] + bytes(200) + data[2200:],
    "dictionary": lambda data: data[:4] + bytes(byte ^ 255 for byte in data[4:40]) + data[40:],
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("damaged", [1, 2])
def test_of_several_lists_the_damaged_one_is_named_alone(corpus, tmp_path, harm, damaged):
    far = pa.array([2**62] * ROWS, pa.int64()).cast(pa.timestamp("ms"))  # no damage of the first
    for number in range(3):
        urls = [f"http://h/{number}/{n}" for n in range(ROWS)]
        columns = {"url": urls, "caption": [f"of {n}" for n in range(ROWS)]}
        table = pa.table(columns | ({"t": far} if number == 0 else {}))
        pq.write_table(table, tmp_path / f"{number}.parquet")
    file = tmp_path / f"{damaged}.parquet"
    file.write_bytes(HARM[harm](file.read_bytes()))
    with pytest.raises(RequestError, match="cannot be read: ") as told:
        plan_ingest(corpus, IngestSettings(source=f"{tmp_path}/*.parquet", kind="urls"))
    assert f"{damaged}.parquet" in str(told.value)
    assert not any(f"{n}.parquet" in str(told.value) for n in range(3) if n != damaged)
    assert "LINE 1" not in str(told.value)


def test_a_damaged_table_beside_a_tar_is_named(corpus, tmp_path):
    keys = [f"{n:09d}" for n in range(ROWS)]
    for shard in range(2):
        put_tar(tmp_path / f"{shard:05d}.tar", [(f"{keys[0]}.png", tiny())])
        text = [f"a long text of {n} in {shard}" for n in range(ROWS)]
        columns = {"key": keys, "status": ["success"] * ROWS, "caption": text}
        pq.write_table(pa.table(columns), tmp_path / f"{shard:05d}.parquet")
    file = tmp_path / "00001.parquet"
    start = pq.read_metadata(file).row_group(0).column(2).dictionary_page_offset + 100
    data = file.read_bytes()
    file.write_bytes(data[:start] + bytes(500) + data[start + 500 :])
    with pytest.raises(RequestError, match=r"^00001\.parquet cannot be read: "):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path)))
