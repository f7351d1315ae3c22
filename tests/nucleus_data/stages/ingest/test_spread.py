import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest import fetch
from nucleus_data.stages.ingest.claims import read_claim
from nucleus_data.stages.ingest.http.downloader import SHARE
from nucleus_data.stages.ingest.http.outcome import Download
from nucleus_data.stages.ingest.listing.spool import connect
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from nucleus_data.stages.ingest.spread import COLUMN, Spread, spread

URLS = [
    "http://a.one.com/1",
    "HTTPS://B.one.com:8443/2?x=@y",
    "http://two.co.uk/3",
    None,
    "http://[2001:db8::1]:80/4",
    "nonsense",
    "http://user:pw@a.one.com#5",
]


def test_each_row_knows_how_many_shards_ask_its_domain(tmp_path):
    rows = tmp_path / "rows.parquet"
    table = pa.table({"id": [str(n) for n in range(7)], "url": URLS, "position": range(7)})
    pq.write_table(table, rows)
    with connect(tmp_path) as connection:
        found = spread(rows, 2, tmp_path, connection)
    assert (found.hosts, found.domains) == (4, 3)
    told = pq.read_table(found.rows)
    assert told.drop_columns([COLUMN]).cast(table.schema).equals(table)
    assert told[COLUMN].to_pylist() == [2, 2, 1, None, 1, None, 2]


@pytest.mark.slow
def test_many_hosts_need_a_contact(corpus, tmp_path):
    source = tmp_path / "l.txt"
    source.write_text("".join(f"http://h{n}.example{n}.com/a.jpg\n" for n in range(1001)))
    said = IngestSettings(source=str(source), images_per_shard=500)
    with pytest.raises(RequestError, match=r"1,001 hosts; .* ingest\.contact="):
        plan_ingest(corpus, said)
    assert not list(corpus.store.list("claims"))
    plan = plan_ingest(corpus, said, dry_run=True)
    assert "1,001 hosts of 1,001 registered domains to contact" in plan.lines()
    reachable = said.model_copy(update={"contact": "me@example.org"})
    assert plan_ingest(corpus, reachable).todo == [0, 1, 2]
    assert set(read_claim(corpus, 0).rows[COLUMN].to_pylist()) == {1}
    assert plan_ingest(corpus, said).new == 0  # nobody new is asked


def test_words():
    assert Spread(None, 2000, 10).note() == "2,000 hosts of 10 registered domains to contact"
    Spread(None, 1000, 10).check_contact(None)
    Spread(None, 2000, 10).check_contact("https://example.org")


@pytest.mark.parametrize("contact", ["x", "me@", "ftp://h", "a b@c", "me@x.org)\r\nX: y"])
def test_a_contact_is_an_address(contact):
    with pytest.raises(ValueError, match="e-mail address or a web page"):
        IngestSettings(contact=contact)


def test_workers_share_only_what_they_all_ask(corpus, tmp_path, monkeypatch):
    source = tmp_path / "l.txt"
    hosts = ["both.com", "one.com", "both.com", "two.com"]
    source.write_text("\n".join(f"http://a.{host}/{n}" for n, host in enumerate(hosts)))
    plan_ingest(corpus, IngestSettings(source=str(source), images_per_shard=2))
    told = []

    def download(urls, settings, folder):
        told.append(settings.get(SHARE))
        return iter([Download(None, "dns", "x", True)] * len(urls))

    monkeypatch.setattr(fetch, "download", download)
    for workers in (1, 8):
        list(fetch.fetch(read_claim(corpus, 0), {}, tmp_path, workers))
    assert told == [None, {"both.com": 2, "one.com": 1}]
