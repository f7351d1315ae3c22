import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest

from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.http import download
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import images, rows, tiny, url_list


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
        body = b"" if path == "/empty.png" or status != 200 else tiny(len(path) % 256)
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
        source=source,
        downloader="img2dataset",
        timeout_s=5,
        retries=1,
        threads=8,
        allow_hosts=("127.0.0.1",),
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
    assert images(corpus) == [tiny(6), tiny(6), tiny(len("/%C3%BC%20b.png"))]
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


def test_without_img2dataset_the_install_command_is_named(corpus, tmp_path, monkeypatch):
    (tmp_path / "l.txt").write_text("http://h/a.png\n")
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'nucleus-data\[download\]'"):
        plan_ingest(
            corpus, IngestSettings(source=str(tmp_path / "l.txt"), downloader="img2dataset")
        )


def test_rows_that_the_downloader_lost_are_not_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_run", lambda urls, settings, folder: None)
    settings = {"threads": 2, "allow_hosts": ["127.0.0.1"]}
    outcomes = list(download.download(["http://127.0.0.1/a", "gopher://x"], settings, tmp_path))
    assert [(o.reason, o.retryable) for o in outcomes] == [
        ("not_reported", True),
        ("bad_scheme", False),
    ]
