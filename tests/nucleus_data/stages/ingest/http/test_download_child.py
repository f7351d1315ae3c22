import socket

import pytest

from nucleus_data.stages.ingest.http import download_child
from tests.support.ingested import resolver


def test_the_downloader_resolves_under_guard(monkeypatch):
    monkeypatch.setattr(download_child, "getproxies", lambda: {"http": "http://proxy:3128"})
    hosts = {"in": ["10.0.0.1"], "out": ["8.8.8.8"], "free": ["10.0.0.2"], "proxy": ["10.0.0.3"]}
    monkeypatch.setattr(socket, "getaddrinfo", resolver(**hosts))
    download_child.guard_addresses(["free"])
    for host in ("out", "free", "proxy"):
        assert socket.getaddrinfo(host, 80)
    with pytest.raises(OSError, match=r"private_address: in is at 10\.0\.0\.1"):
        socket.getaddrinfo("in", 80)
