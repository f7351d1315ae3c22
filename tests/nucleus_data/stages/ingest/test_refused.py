"""Every kind of source, with what its corpus refuses: no such picture, and no request for it."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.corpus.blocked import ID, TAKEN_DOWN, Entry, add_blocked, plain
from nucleus_data.hashing import record_id
from nucleus_data.stages.ingest import fetch as fetch_module
from nucleus_data.stages.ingest.http.outcome import Download
from nucleus_data.stages.ingest.reasons import is_retryable
from nucleus_data.world.server import WorldServer
from tests.support.ingested import images, ingest, put, put_tar, rows, tiny, url_list
from tests.support.web import HERE, QUICK, on, served


def block(corpus, **values):
    add_blocked(corpus.store, [Entry(k, plain(k, v)) for k, v in values.items()])


def outcomes(corpus):
    return {row["key"]: row["error"] for row in rows(corpus)}


def digest(data):
    return hashlib.sha256(data).hexdigest()


def test_a_folder(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1), "b.png": tiny(2), "b.txt": "b"})
    put(source, {"c.png": tiny(3), "d.png": tiny(4)})
    add_blocked(corpus.store, [Entry(ID, record_id("p", "a.png"), TAKEN_DOWN)])
    block(corpus, sha256=digest(tiny(2)))
    ingest(corpus, source)
    assert outcomes(corpus) == {
        "a.png": "taken_down",
        "b.png": "blocked",
        "c.png": None,
        "d.png": None,
    }
    assert images(corpus) == [tiny(3), tiny(4)]
    refused = rows(corpus)[1]
    assert refused["source.caption"] is None
    assert "sha256" in refused["detail"]
    assert not refused["retryable"]
    assert not is_retryable("blocked")
    assert not is_retryable("taken_down")


def test_a_tar(corpus, tmp_path):
    members = [(f"{n}.png", tiny(n)) for n in range(4)]
    put_tar(tmp_path / "t.tar", members)
    block(corpus, id=record_id("s", "t/1"), sha256=digest(tiny(2)))
    ingest(corpus, tmp_path / "t.tar", name="s")
    found = outcomes(corpus)
    assert sorted(found.values(), key=str) == [None, None, "blocked", "blocked"]
    assert images(corpus) == [tiny(0), tiny(3)]


def test_tables_with_pictures_inside(corpus, tmp_path):
    data = [{"bytes": tiny(n), "path": None} for n in range(3)]
    urls = ["http://ok.test/0.png", "http://bad.test/1.png", "http://ok.test/2.png"]
    pq.write_table(pa.table({"image": data, "url": urls}), tmp_path / "t.parquet")
    block(corpus, host="bad.test", sha256=digest(tiny(2)))
    ingest(corpus, tmp_path / "t.parquet", kind="embedded")
    assert [row["error"] for row in rows(corpus)] == [None, "blocked", "blocked"]
    assert images(corpus) == [tiny(0)]


def test_pictures_that_were_downloaded_before(corpus, tmp_path):
    sidecars = ('{"url": "http://bad.test/0.png", "caption": "a"}', '{"url": "http://ok.test/"}')
    members = [
        m
        for n, s in enumerate(sidecars)
        for m in ((f"{n}.png", tiny(n)), (f"{n}.json", s.encode()))
    ]
    put_tar(tmp_path / "t.tar", members)
    block(corpus, host="bad.test")
    ingest(corpus, tmp_path / "t.tar")
    assert [row["error"] for row in rows(corpus)] == ["blocked", None]
    assert rows(corpus)[0]["source.caption"] is None


@pytest.fixture
def server(tmp_path):
    with WorldServer(served(tmp_path / "w", 5)) as found:
        yield found


def asked(server):
    return [entry.path for entry in server.log if entry.path != "/robots.txt"]


def test_blocked_urls_and_hosts_are_not_asked(corpus, tmp_path, server):
    urls = [f"{server.url}/{n}.png" for n in range(4)]
    urls[3] = on("localhost", urls[3])
    block(corpus, url=urls[1], host="localhost", sha256=digest((tmp_path / "w/2.png").read_bytes()))
    said = {**QUICK, "allow_hosts": (HERE, "localhost")}
    ingest(corpus, url_list(tmp_path / "l.parquet", urls), **said)
    assert [row["error"] for row in rows(corpus)] == [None, "blocked", "blocked", "blocked"]
    assert sorted(asked(server)) == ["/0.png", "/2.png"]


def test_no_redirect_leads_to_what_is_blocked(corpus, tmp_path, server):
    hop = f"{server.url}/0.png?fault=redirect:0"
    block(corpus, url=hop)
    said = {**QUICK, "allow_hosts": (HERE,)}
    urls = [f"{server.url}/0.png?fault=redirect:1", f"{server.url}/1.png?fault=redirect:1"]
    ingest(corpus, url_list(tmp_path / "l.parquet", urls), **said)
    assert [row["error"] for row in rows(corpus)] == ["blocked", None]
    assert not any("/0.png?fault=redirect:0" in path for path in asked(server))


def test_img2dataset_is_not_told_of_blocked_urls(corpus, tmp_path, monkeypatch):
    given = []

    def download(urls, settings, folder):
        given.extend(urls)
        return iter([Download(tiny(1))])

    monkeypatch.setattr(fetch_module, "download", download)
    block(corpus, host="bad.test")
    ingest(corpus, url_list(tmp_path / "l.parquet", ["http://bad.test/a", "http://ok.test/b"]))
    assert given == ["http://ok.test/b"]
    assert [row["error"] for row in rows(corpus)] == ["blocked", None]
