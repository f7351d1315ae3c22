import http.client
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from tests.support.world_server import PICTURE, ask, connected, fault


def test_head_has_the_headers_alone(server):
    answer, body = ask(server, "/a.jpg", "HEAD")
    assert (answer.status, body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(PICTURE))
    assert fault(server, "endless", method="HEAD")[1] == b""


def test_requests_share_a_connection(server):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=2)
    connection.request("GET", "/a.jpg")
    first = connection.sock
    assert connection.getresponse().read() == PICTURE
    connection.request("HEAD", "/a.jpg")
    connection.getresponse().read()
    connection.request("GET", "/absent.jpg")
    assert connection.getresponse().status == 404
    assert connection.sock is first
    connection.close()


def test_a_body_sent_along_is_not_taken_for_a_request(server):
    smuggled = b"GET /park/b.PNG HTTP/1.1\r\n\r\n"
    with connected(server) as client, suppress(ConnectionResetError):
        client.sendall(b"GET /raw.bin HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(smuggled))
        client.sendall(smuggled)
        while client.recv(1 << 16):
            pass
    assert [request.path for request in server.log] == ["/raw.bin"]


def test_slow_trickles_the_body(server):
    started = time.monotonic()
    with urllib.request.urlopen(server.url_of("a.jpg", "slow:0.3"), timeout=0.2) as answer:
        assert time.monotonic() - started < 0.2
        assert len(answer.read1()) < len(PICTURE) / 2
        answer.read()
    assert 0.25 < time.monotonic() - started < 1.5


def test_slow_headers_trickles_the_head(server):
    started = time.monotonic()
    with connected(server, timeout=0.2) as client:
        client.sendall(b"GET /a.jpg?fault=slow_headers:0.3 HTTP/1.0\r\n\r\n")
        first = client.recv(1 << 16)
        assert b"HTTP/1.1 200 OK".startswith(first[:15])
        assert b"\r\n\r\n" not in first
        received = first
        while piece := client.recv(1 << 16):
            received += piece
    assert 0.25 < time.monotonic() - started < 1.5
    assert received.endswith(b"\r\n\r\n" + PICTURE)


def test_cut_ends_before_the_announced_length_and_can_be_resumed(server):
    with pytest.raises(http.client.IncompleteRead) as error:
        fault(server, "cut*1")
    assert error.value.partial == PICTURE[:1024]
    rest, body = fault(server, "cut*1", Range="bytes=1024-")
    assert (rest.status, error.value.partial + body) == (206, PICTURE)


def test_reset_is_a_reset_and_no_goodbye(server):
    with pytest.raises(ConnectionResetError) as error:
        fault(server, "reset")
    assert type(error.value) is ConnectionResetError  # RemoteDisconnected would be a plain close
    assert [request.status for request in server.log] == [0]


@pytest.mark.parametrize("file", ["a.jpg", "nothing.gif"])
def test_endless_goes_on(server, file):
    with urllib.request.urlopen(server.url_of(file, "endless"), timeout=2) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["Content-Length"] is None
        start = PICTURE if file == "a.jpg" else b""
        assert answer.read(len(start)) == start
        assert answer.read(3_000_000) == bytes(3_000_000)


def test_a_slow_answer_does_not_hold_up_others(server):
    with urllib.request.urlopen(server.url_of("a.jpg", "slow:60"), timeout=2):
        started = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            bodies = list(pool.map(lambda _: ask(server, "/a.jpg")[1], range(40)))
        assert time.monotonic() - started < 2
    assert bodies == [PICTURE] * 40


def test_a_client_that_goes_away_is_no_error(server, capfd):
    for name in ("endless", "slow:60"):
        with urllib.request.urlopen(server.url_of("a.jpg", name), timeout=2) as answer:
            answer.read(1)
    for thread in list(server._server.connections):
        thread.join(2)
        assert not thread.is_alive()
    assert capfd.readouterr().err == ""
