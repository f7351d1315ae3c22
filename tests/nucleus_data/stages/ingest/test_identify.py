import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id, sample_unit
from nucleus_data.stages.ingest.identify import identified
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.spool import Listing, connect
from nucleus_data.stages.ingest.progress import Planning

COLUMNS = "key, NULL AS extension, url"


def rows_of(tmp_path, *values, limit=None, sample=None, **listing):
    texts = ", ".join(f"('{key}', '{url}')" for key, url in values)
    query = f"SELECT {COLUMNS} FROM (VALUES {texts}) t(key, url)"
    location = Location("urls", "list", "/list.txt", Store(str(tmp_path)), [])
    with connect(tmp_path) as connection:
        path = identified(
            Listing(query, **listing), location, tmp_path, connection, limit, sample, Planning()
        )
    return pq.read_table(path).to_pylist()


def test_keys_that_come_again_get_numbers_and_each_row_its_id(tmp_path):
    found = rows_of(tmp_path, ("b", ""), ("a", ""), ("b", ""), ("b", ""), order="key")
    assert [row["key"] for row in found] == ["a", "b", "b.1", "b.2"]
    assert [row["position"] for row in found] == [0, 1, 2, 3]
    assert [row["id"] for row in found] == [record_id("list", row["key"]) for row in found]
    assert {row["source"] for row in found} == {"list"}


def test_every_row_of_a_url_list_gets_a_number_and_the_extension_of_its_path(tmp_path):
    urls = ["http://h.gif/a.PNG?x=1.jpg", "http://h/b#c.webp", "http://h/a.jpg"]
    found = rows_of(tmp_path, *(("k", url) for url in urls), separator="#", number_all=True)
    assert [row["key"] for row in found] == ["k#0", "k#1", "k#2"]
    assert [row["extension"] for row in found] == ["png", None, "jpg"]


def test_a_limit_takes_the_first_and_a_sample_those_of_their_ids(tmp_path):
    values = [(f"{n:03}", "") for n in range(60)]
    assert [r["key"] for r in rows_of(tmp_path, *values, limit=2, order="key")] == ["000", "001"]
    found = [row["key"] for row in rows_of(tmp_path, *values, sample=0.3)]
    assert found == [k for k, _ in values if sample_unit(record_id("list", k)) < 0.3]
    assert 0 < len(found) < 60


def test_a_source_that_cannot_be_read_is_named(tmp_path):
    location = Location("urls", "list", "/list.txt", Store(str(tmp_path)), [])
    with (
        connect(tmp_path) as connection,
        pytest.raises(RequestError, match=r"ingest\.source='/list\.txt' cannot be read"),
    ):
        identified(
            Listing("SELECT nothing"), location, tmp_path, connection, None, None, Planning()
        )
