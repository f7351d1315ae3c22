import io
import ipaddress
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.images import read_images, tar_name
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest import IngestSettings, build_shard, plan_ingest
from nucleus_data.stages.ingest import build as build_module
from nucleus_data.stages.ingest import fetch as fetch_module
from nucleus_data.stages.ingest.claims import read_claim
from nucleus_data.stages.ingest.http import download, download_child
from nucleus_data.stages.ingest.http.addresses import check_urls, is_public
from nucleus_data.stages.ingest.http.download import Download


def picture(number=0, suffix="png"):
    data = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 0, 7)).save(data, suffix)
    return data.getvalue()


class Handler(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        Handler.asked.append(self.path)
        path = self.path.partition("?")[0]
        if path == "/slow.png":
            time.sleep(12)
        if path == "/redirect.png":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/secret.png")
            self.end_headers()
            return
        status = {"/missing.png": 404, "/broken.png": 500}.get(path, 200)
        body = b"" if path == "/empty.png" or status != 200 else picture(len(path) % 256)
        self.send_response(status)
        if path == "/robots.png":
            self.send_header("X-Robots-Tag", "noai")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


@pytest.fixture
def server():
    Handler.asked.clear()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def corpus(tmp_path):
    return Corpus(str(tmp_path / "corpus"), create=True)


def url_list(path, urls, **columns):
    pq.write_table(pa.table({"URL": urls, **columns}), path)
    return str(path)


def rows(corpus):
    tables = [corpus.records.read(number) for number in corpus.shards()]
    return [row for table in tables for row in table.to_pylist()]


def images(corpus, number=0):
    records = corpus.records.read(number)
    records = records.filter(records["error"].is_null())
    footer = next(iter(corpus.records.metadata(number)))
    return list(read_images(corpus.store, number, records, int(footer["tar_size"])))


def resolver(**hosts):
    def resolve(host, port, *_, **__):
        if host not in hosts:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (at, 0)) for at in hosts[host]]

    return resolve


@pytest.mark.slow
def test_a_url_list_is_downloaded_and_every_row_accounted_for(corpus, tmp_path, server):
    port = server.rpartition(":")[2]
    names = ["a.png", "missing.png", "a.png", "ü b.png?x=1", "broken.png", "slow.png", "empty.png"]
    urls = [f"{server}/{name}" for name in [*names, "robots.png", "redirect.png"]]
    urls += [f"http://localhost:{port}/private.png", "ftp://h/x.png", "nonsense", None]
    source = url_list(
        tmp_path / "list.parquet", urls, TEXT=[f"caption {i}" for i in range(len(urls))]
    )
    wanted = IngestSettings(
        source=source, timeout_s=5, retries=1, threads=8, allow_hosts=("127.0.0.1",)
    )
    plan = plan_ingest(corpus, wanted)
    assert (plan.kind, plan.found, plan.todo) == ("urls", 13, [0])
    counts = build_shard(corpus, 0)
    found = rows(corpus)
    assert [row["error"] for row in found] == [
        *(None, "http_404", None, None, "http_500", "timeout", "empty_file"),
        *("robots", "private_address", "private_address", "bad_scheme", "bad_scheme", "bad_scheme"),
    ]
    assert [row["retryable"] for row in found] == [*[False] * 4, *[True] * 3, *[False] * 6]
    assert counts["images"] == 3
    assert counts["reasons"]["private_address"] == 2
    assert "/private.png" not in Handler.asked
    assert "/secret.png" not in Handler.asked  # a redirect to a private address is not followed
    assert Handler.asked.count("/broken.png") == 2  # one retry
    assert [row["key"] for row in found][:3] == [
        f"{server}/a.png#0",
        f"{server}/missing.png#0",
        f"{server}/a.png#1",
    ]
    assert [row["source.caption"] for row in found] == [f"caption {i}" for i in range(13)]
    assert found[3]["source.url"] == f"{server}/ü b.png?x=1"
    assert found[3]["source.extension"] == "png"
    assert images(corpus) == [picture(6), picture(6), picture(len("/%C3%BC%20b.png"))]
    assert list((tmp_path / "corpus" / "incoming").iterdir()) == []


@pytest.mark.slow
def test_the_downloader_ends_with_its_parent(tmp_path, server):
    code = (
        "from pathlib import Path\n"
        "from nucleus_data.stages.ingest.http.download import download\n"
        f"settings = dict(timeout_s=60, retries=0, threads=1, allow_hosts=['127.0.0.1'])\n"
        f"list(download(['{server}/slow.png'] * 50, settings, Path({str(tmp_path)!r})))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    process = psutil.Process(parent.pid)
    until = time.monotonic() + 60
    while "/slow.png" not in Handler.asked and time.monotonic() < until:
        time.sleep(0.1)
    children = process.children(recursive=True)
    assert len(children) == 1
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (len(gone), alive) == (1, [])


@pytest.mark.parametrize("kind", ["parquet", "csv", "tsv", "txt", "folder", "glob"])
def test_url_lists_of_every_kind(corpus, tmp_path, kind):
    urls = ["http://h/a.JPG", "http://h/b?c=d.png", "http://h/a.JPG"]
    table = pa.table({"URL": urls, "TEXT": ["one", None, " three\n"], "n": [1, 2, 3]})
    folder = tmp_path / "lists"
    folder.mkdir()
    source = folder / f"part.{kind}"
    if kind in ("folder", "glob"):
        pq.write_table(table.slice(0, 2), folder / "0.parquet")
        pq.write_table(table.slice(2), folder / "1.parquet")
        source = folder if kind == "folder" else folder / "*.parquet"
    elif kind == "parquet":
        pq.write_table(table, source)
    elif kind == "txt":
        source.write_text("\ufeff" + "\n\n".join(urls) + "\n")
    else:
        mark = "," if kind == "csv" else "\t"
        lines = [("URL", "TEXT", "n"), (urls[0], "one", "1"), (urls[1], "", "2")]
        lines.append((urls[2], '" three\n"', "3"))
        source.write_text("\n".join(mark.join(line) for line in lines) + "\n")
    plan = plan_ingest(corpus, IngestSettings(source=str(source)))
    assert (plan.kind, plan.found) == ("urls", 3)
    claim = read_claim(corpus, 0).rows
    assert claim["key"].to_pylist() == [
        "http://h/a.JPG#0",
        "http://h/b?c=d.png#0",
        "http://h/a.JPG#1",
    ]
    assert claim["source.url"].to_pylist() == claim["url"].to_pylist() == urls
    assert claim["extension"].to_pylist() == ["jpg", None, "jpg"]
    if kind != "txt":
        assert claim["source.caption"].to_pylist() == ["one", None, "three"]
        assert claim["source.n"].to_pylist() == [1, 2, 3]


def test_columns_become_plain(corpus, tmp_path):
    source = url_list(
        tmp_path / "l.parquet",
        ["http://h/a"],
        tags=[["x", "y"]],
        about=[{"k": 1}],
        thumbnail=[b"\xff"],
        caption=["c"],
    )
    plan = plan_ingest(corpus, IngestSettings(source=source))
    claim = read_claim(corpus, 0).rows
    assert claim["source.tags"].to_pylist() == ['["x","y"]']
    assert claim["source.about"].to_pylist() == ['{"k":1}']
    assert "source.thumbnail" not in claim.column_names
    assert plan.notes == ["binary columns left out: thumbnail"]


def test_wrong_url_lists_are_refused(corpus, tmp_path):
    source = tmp_path / "l.parquet"
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), source)
    with pytest.raises(RequestError, match=r"its columns are a, b.*ingest.url_column"):
        plan_ingest(corpus, IngestSettings(source=str(source)))
    with pytest.raises(RequestError, match=r"url_column='c'.*a, b"):
        plan_ingest(corpus, IngestSettings(source=str(source), url_column="c"))
    source.write_bytes(b"PAR1 no")
    with pytest.raises(RequestError, match="cannot be read"):
        plan_ingest(corpus, IngestSettings(source=str(source)))
    (tmp_path / "e.txt").write_text("\n")
    with pytest.raises(RequestError, match="has no row"):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "e.txt")))
    with pytest.raises(RequestError, match="captions is for folders"):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "e.txt"), captions="x.csv"))


def test_without_img2dataset_the_install_command_is_named(corpus, tmp_path, monkeypatch):
    (tmp_path / "l.txt").write_text("http://h/a.png\n")
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'nucleus-data\[download\]'"):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.txt")))


def test_downloads_that_change_do_not_change_the_records(corpus, tmp_path, monkeypatch):
    (tmp_path / "l.txt").write_text("http://h/a.png\nhttp://h/b.png\nhttp://h/c.png\n")
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.txt"), max_bytes=5000))
    tries = []

    def downloaded(urls, settings, folder):
        tries.append(urls)
        yield Download(picture(len(tries)))
        yield Download(None, "timeout", "attempt 1", True)
        yield Download(b"\x89PNG\r\n\x1a\n" * 1000)

    monkeypatch.setattr(fetch_module, "download", downloaded)
    with monkeypatch.context() as patch:
        patch.setattr(build_module, "derive_records", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_shard(corpus, 0)
    tar = corpus.store.read(tar_name(0))
    counts = build_shard(corpus, 0)
    assert len(tries) == 1
    assert corpus.store.read(tar_name(0)) == tar
    assert counts["reasons"] == {"timeout": 1, "too_large": 1}
    found = rows(corpus)
    assert (found[1]["detail"], found[1]["retryable"]) == ("attempt 1", True)
    assert images(corpus) == [picture(1)]


def test_who_loses_the_race_for_a_tar_takes_the_winners(corpus, tmp_path, monkeypatch):
    (tmp_path / "l.txt").write_text("http://h/a.png\n")
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.txt")))

    def downloaded(urls, settings, folder):
        if not tries:
            tries.append(1)
            build_shard(Corpus(corpus.uri), 0)  # another worker is faster
            yield Download(picture(1))
        else:
            yield Download(picture(2))

    tries = []
    monkeypatch.setattr(fetch_module, "download", downloaded)
    build_shard(corpus, 0)
    assert images(corpus) == [picture(2)]
    assert len(rows(corpus)) == 1


def test_rows_that_the_downloader_lost_are_not_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_run", lambda urls, settings, folder: None)
    settings = {"threads": 2, "allow_hosts": ["127.0.0.1"]}
    outcomes = list(download.download(["http://127.0.0.1/a", "gopher://x"], settings, tmp_path))
    assert [(o.reason, o.retryable) for o in outcomes] == [
        ("not_reported", True),
        ("bad_scheme", False),
    ]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1"),
        *("2002:7f00:1::", "64:ff9b::a00:1", "::ffff:169.254.169.254"),
    ],
)
def test_private_addresses(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses(address):
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_inside_ipv6(address):
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))
    assert is_public(translated) == is_public(address)
    assert is_public(mapped) == is_public(address)


def test_urls_are_checked(monkeypatch):
    hosts = {"ok": ["8.8.8.8"], "both": ["8.8.8.8", "10.0.0.1"], "six": ["::1"]}
    monkeypatch.setattr(socket, "getaddrinfo", resolver(**hosts))
    reasons = {
        "http://ok/a.png": None,
        "HTTPS://OK:8443/a.png": None,
        "http://both/a.png": "private_address",
        "http://six/": "private_address",
        "http://user:pw@six/": "private_address",
        "http://nowhere/": "dns",
        "http://free/": None,
        "file:///etc/passwd": "bad_scheme",
        "data:image/png;base64,AA": "bad_scheme",
        "//ok/a.png": "bad_scheme",
        "http:///a.png": "bad_url",
        "http://[::1/a.png": "bad_url",
        "http://ok:99999/": "bad_url",
        "": "bad_scheme",
    }
    checked = check_urls(list(reasons), {"free"}, threads=4)
    assert [check.reason for check in checked] == list(reasons.values())
    assert all((check.url is None) == (check.reason is not None) for check in checked)


def test_the_checked_url_is_the_one_requested(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", resolver(h=["8.8.8.8"]))
    urls = ["http://u:p@H:80/ü b\t%20?q=ä#frag", "http://h\\@evil/x", "http://h/?a[]=1&b=c+d"]
    assert [check.url for check in check_urls(urls[:1], (), 1)] == [
        "http://h:80/%C3%BC%20b%20?q=%C3%A4"
    ]
    assert check_urls(urls[1:2], (), 1)[0].url is None
    assert check_urls(urls[2:], (), 1)[0].url == urls[2]


def test_the_downloader_resolves_under_guard(monkeypatch):
    monkeypatch.setattr(download_child, "getproxies", lambda: {"http": "http://proxy:3128"})
    hosts = {"in": ["10.0.0.1"], "out": ["8.8.8.8"], "free": ["10.0.0.2"], "proxy": ["10.0.0.3"]}
    monkeypatch.setattr(socket, "getaddrinfo", resolver(**hosts))
    download_child.guard_addresses(["free"])
    for host in ("out", "free", "proxy"):
        assert socket.getaddrinfo(host, 80)
    with pytest.raises(OSError, match=r"private_address: in is at 10\.0\.0\.1"):
        socket.getaddrinfo("in", 80)


def test_what_a_killed_process_left_is_removed(corpus, tmp_path, monkeypatch):
    (tmp_path / "l.txt").write_text("ftp://h/a.png\n")
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.txt")))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    incoming = tmp_path / "corpus" / "incoming"
    left = incoming / f"nucleus-000000.{host}.{dead.pid}.x"
    alive = incoming / f"nucleus-000000.{host}.{os.getpid()}.y"
    for folder in (left, alive):
        folder.mkdir(parents=True)
        (folder / "big").write_bytes(b"x")
    build_shard(corpus, 0)
    assert not left.exists()
    assert alive.exists()
