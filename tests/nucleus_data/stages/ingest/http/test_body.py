"""Bodies over a real connection: what is taken, what is refused, and how much memory it costs."""

import gzip
import tracemalloc
import zlib
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from nucleus_data.stages.ingest.fetch_settings import FetchSettings
from nucleus_data.stages.ingest.http.fetcher import fetch_urls
from tests.support.web import QUICK, fetched, picture

PICTURE = picture(1)
LARGE = b"\xff\xd8\xff\xe0" + bytes(5 << 20)
RAW = zlib.compress(PICTURE)


@cache
def bomb():
    """64 MB of zeros, packed."""
    return gzip.compress(b"\xff\xd8\xff" + bytes(64 << 20), 9)


BODIES = {
    "/plain": ({}, PICTURE),
    "/tiny": ({}, b"\x89PNG\r\n\x1a\n1"),
    "/identity": ({"Content-Encoding": "identity"}, PICTURE),
    "/gzip": ({"Content-Encoding": "gzip"}, gzip.compress(PICTURE)),
    "/x-gzip": ({"Content-Encoding": "X-GZIP"}, gzip.compress(PICTURE)),
    "/deflate": ({"Content-Encoding": "deflate"}, RAW),
    "/cut-gzip": ({"Content-Encoding": "gzip"}, gzip.compress(PICTURE)[:-9]),
    "/no-gzip": ({"Content-Encoding": "gzip"}, PICTURE),
    "/twice": ({"Content-Encoding": "gzip, gzip"}, gzip.compress(gzip.compress(PICTURE))),
    "/br": ({"Content-Encoding": "br"}, PICTURE),
    "/gzip-file": ({}, gzip.compress(PICTURE * 9)),
    "/html": ({"Content-Type": "image/jpeg"}, b"<!DOCTYPE html>" + b" " * 5000),
    "/empty": ({}, b""),
    "/large": ({}, LARGE),
    "/packed": ({"Content-Encoding": "gzip"}, gzip.compress(LARGE)),
    "/bomb": ({"Content-Encoding": "gzip"}, bomb),
    "/chunked": ({"Transfer-Encoding": "chunked"}, b""),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        path = self.path.partition("?")[0]
        headers, body = BODIES.get(path, ({}, b""))
        body = body() if callable(body) else body
        self.send_response(200 if path in BODIES else 404)
        for name, value in headers.items():
            self.send_header(name, value)
        if path == "/chunked":
            self.end_headers()
            for _ in range(40):  # it never says how much comes
                self.wfile.write(
                    b"%x\r\n%b\r\n" % (1 << 20, b"\xff\xd8\xff" + bytes((1 << 20) - 3))
                )
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        return  # the client goes away


@pytest.fixture(scope="module")
def url():
    server = Quiet(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_is_taken(url, tmp_path):
    same = ("/plain", "/identity", "/gzip", "/x-gzip", "/deflate")
    found = fetched([url + path for path in (*same, "/tiny")], tmp_path)
    assert [outcome.data for outcome in found] == [*[PICTURE] * len(same), BODIES["/tiny"][1]]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        *((path, "bad_encoding") for path in ("/cut-gzip", "/no-gzip", "/twice", "/br")),
        *((path, "not_an_image") for path in ("/gzip-file", "/html")),
        ("/empty", "empty_file"),
        *((path, "too_large") for path in ("/large", "/packed", "/bomb", "/chunked")),
    ],
)
def test_what_is_refused(url, tmp_path, path, reason):
    bomb()  # made before the clock of the request runs
    found = fetched([url + path], tmp_path)[0]
    assert (found.reason, found.data) == (reason, None)


@pytest.mark.slow
def test_large_bodies_do_not_lie_in_memory(url, tmp_path):
    fetched([url + "/plain"], tmp_path / "warm")
    urls = [f"{url}/large?{n}" for n in range(12)]
    said = FetchSettings(**QUICK, allow_hosts=("127.0.0.1",), threads=12)
    tracemalloc.start()
    try:
        lengths = [len(o.data) for o in fetch_urls(urls, said, 64 << 20, tmp_path)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lengths == [len(LARGE)] * 12
    # A picture that is read back, and a megabyte and some buffers for each that is on its way.
    assert peak < 2 * len(LARGE) + 12 * (2 << 20) < 12 * len(LARGE)
