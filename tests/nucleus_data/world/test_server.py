import http.client
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest

from nucleus_data.world import server as module
from nucleus_data.world.server import WorldServer
from nucleus_data.world.server_faults import DRAWN, FAULTS

PICTURE = bytes(range(256)) * 8  # no decoder ever sees it: bytes that tell their place will do
ODD = 'a <b>&"#?%!.png'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("served")
    (top / "secret.jpg").write_bytes(b"outside")
    inside = top / "pictures"
    (inside / "park").mkdir(parents=True)
    (inside / ".git").mkdir()
    for name in ("a.jpg", "park/b.PNG", "park/ü.webp", ODD, "raw.bin", ".hidden.jpg", ".git/c.jpg"):
        (inside / name).write_bytes(PICTURE)
    (inside / "nothing.gif").write_bytes(b"")
    (inside / "link.jpg").symlink_to("a.jpg")
    (inside / "out.jpg").symlink_to("../secret.jpg")
    (inside / "up").symlink_to("..")
    (inside / "unhidden.jpg").symlink_to(".hidden.jpg")
    (inside / "circle.jpg").symlink_to("circle.jpg")
    os.mkfifo(inside / "pipe.jpg")
    return inside


@pytest.fixture(scope="module")
def shared(folder):
    with WorldServer(folder) as server:
        yield server


@pytest.fixture
def server(shared):
    # The counters of `*K` are a test's own; the server is not, for it takes a while to stop.
    shared._met.clear()
    shared._log.clear()
    return shared


def ask(server, target, method="GET", timeout=2.0, **headers):
    """One request on a connection of its own, the target as it is; the answer and its body."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=timeout)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, headers=named)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def connected(server, timeout=2.0):
    return socket.create_connection(address_of(server), timeout=timeout)


def address_of(server):
    parts = urlsplit(server.url)
    return parts.hostname, parts.port


def fault(server, name, file="a.jpg", **more):
    return ask(server, server.url_of(file, name).removeprefix(server.url), **more)


def threads_since(before):
    return [thread for thread in threading.enumerate() if thread not in before]


KINDS = {
    "a.jpg": "image/jpeg",
    "link.jpg": "image/jpeg",
    "park/b.PNG": "image/png",
    "park/ü.webp": "image/webp",
    ODD: "image/png",
    "raw.bin": "application/octet-stream",
}


@pytest.mark.parametrize(("file", "kind"), KINDS.items())
def test_a_file_is_served_with_its_type_and_length(server, file, kind):
    with urllib.request.urlopen(server.url_of(file), timeout=2) as answer:
        assert answer.read() == PICTURE
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Content-Length"] == str(len(PICTURE))


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


@pytest.mark.parametrize(
    ("wanted", "part", "content_range"),
    [
        ("bytes=0-9", PICTURE[:10], "bytes 0-9/2048"),
        ("bytes=2040-", PICTURE[2040:], "bytes 2040-2047/2048"),
        ("bytes=2040-9999", PICTURE[2040:], "bytes 2040-2047/2048"),
        ("bytes=-3", PICTURE[-3:], "bytes 2045-2047/2048"),
        ("bytes=-9999", PICTURE, "bytes 0-2047/2048"),
    ],
)
def test_a_range_is_answered_by_that_part(server, wanted, part, content_range):
    answer, body = ask(server, "/a.jpg", Range=wanted)
    assert (answer.status, body) == (206, part)
    assert answer.headers["Content-Range"] == content_range
    assert answer.headers["Content-Length"] == str(len(part))


@pytest.mark.parametrize("wanted", ["bytes=2048-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_beyond_the_end_is_416(server, wanted):
    answer, _ = ask(server, "/a.jpg", Range=wanted)
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */2048")
    assert ask(server, "/nothing.gif", Range="bytes=0-0")[0].status == 416


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,4-5", "bytes=9-2", "bytes=-", "rows=0-1", "bytes=²-"]
)
def test_other_ranges_are_ignored(server, wanted):
    answer, body = ask(server, "/a.jpg", Range=wanted)
    assert (answer.status, body) == (200, PICTURE)
    assert ask(server, "/a.jpg", Range="bytes=0-1", If_Range='"x"')[1] == PICTURE


OUTSIDE = (
    *("/../secret.jpg", "/park/../../secret.jpg", "/%2e%2e/secret.jpg", "/..%2fsecret.jpg"),
    *("/park/../a.jpg", "/./a.jpg", "/park//b.PNG", "/a.jpg/", "/park", "/a.jpg%00", "/%ff.jpg"),
    *("/%2fetc/hostname", "//etc/hostname", "secret.jpg", "http://h/a.jpg", "/" + "x" * 5000),
    *("/out.jpg", "/up/secret.jpg", "/circle.jpg", "/pipe.jpg"),
    *("/FOLDER/a.jpg", "/%2fFOLDER/a.jpg", "FOLDER/a.jpg"),
    *("/.hidden.jpg", "/.git/c.jpg", "/unhidden.jpg", "/up/pictures/.hidden.jpg"),
    *("/!none/../secret.jpg", "/../secret.jpg?fault=wrong_type"),
)


@pytest.mark.parametrize("target", OUTSIDE)
def test_nothing_but_files_of_the_folder_is_served(server, folder, target):
    answer, body = ask(server, target.replace("FOLDER", str(folder)))
    assert answer.status == 404
    assert b"outside" not in body
    assert PICTURE not in body


def test_the_index_names_what_is_served_and_escapes_it(server):
    assert server.files() == sorted(
        ["a.jpg", "park/b.PNG", "park/ü.webp", ODD, "raw.bin", "nothing.gif", "link.jpg"]
    )
    answer, body = ask(server, "/")
    text = body.decode()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "a &lt;b&gt;&amp;&quot;#?%!.png" in text
    assert "<b>" not in text
    links = re.findall('href="([^"]*)"', text)
    assert len(links) == 7
    for link in links:
        assert ask(server, link)[0].status == 200


def test_a_name_that_is_not_utf8_is_served(tmp_path):
    (tmp_path / "\udcff.jpg").write_bytes(PICTURE)
    with WorldServer(tmp_path, fault_share=1, drawn=["noai"]) as server:
        assert server.files() == ["\udcff.jpg"]
        assert server.url_of("\udcff.jpg").endswith("/%FF.jpg")
        answer, body = ask(server, "/%FF.jpg")
        assert (body, answer.headers["X-Robots-Tag"]) == (PICTURE, "noai, noimageai")
        assert ask(server, "/")[0].status == 200


@pytest.mark.parametrize("status", [403, 404, 410, 500, 503])
def test_status_faults(server, status):
    answer, body = fault(server, str(status))
    assert answer.status == status
    assert PICTURE not in body
    assert [request.status for request in server.log] == [status]


def test_429_says_how_long_to_wait(server):
    assert fault(server, "429")[0].headers["Retry-After"] == "1"
    answer, _ = fault(server, "429:7")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


def test_a_fault_may_be_for_the_first_requests_alone(server):
    assert [fault(server, "429:0*2")[0].status for _ in range(4)] == [429, 429, 200, 200]
    assert [fault(server, "500*1")[0].status for _ in range(3)] == [500, 200, 200]
    assert fault(server, "500*1", file="park/b.PNG")[0].status == 500


def test_first_requests_are_counted_once_each_when_many_ask_at_once(server):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: fault(server, "500*20")[0].status, range(50)))
    assert (answers.count(500), answers.count(200)) == (20, 30)


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


def test_redirects_end_at_the_file(server):
    with urllib.request.urlopen(server.url_of("park/ü.webp", "redirect:3"), timeout=2) as answer:
        assert answer.read() == PICTURE
    assert [request.status for request in server.log] == [302, 302, 302, 200]


def test_a_planned_redirect_ends_too(folder):
    with WorldServer(folder, faults={"a.jpg": "redirect:2"}) as server:
        with urllib.request.urlopen(server.url_of("a.jpg"), timeout=2) as answer:
            assert answer.read() == PICTURE
        assert [request.status for request in server.log] == [302, 302, 200]


def test_a_redirect_loop_has_no_end(server):
    with pytest.raises(urllib.error.HTTPError, match="infinite loop") as error:
        urllib.request.urlopen(server.url_of("a.jpg", "redirect_loop"), timeout=2)
    error.value.close()
    assert {request.status for request in server.log} == {302}


def test_a_redirect_to_a_private_address(server):
    assert fault(server, "redirect_private")[0].headers["Location"] == "http://10.0.0.1/"
    answer, _ = fault(server, "redirect_private:169.254.169.254")
    assert (answer.status, answer.headers["Location"]) == (302, "http://169.254.169.254/")


def test_types_that_lie(server):
    answer, body = fault(server, "wrong_type")
    assert (answer.headers["Content-Type"], body) == ("text/html", PICTURE)
    answer, body = fault(server, "html")
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert body.startswith(b"<!DOCTYPE html>")


def test_empty_is_a_success_without_a_byte(server):
    answer, body = fault(server, "empty", Range="bytes=0-3")
    assert (answer.status, body, answer.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize("file", ["a.jpg", "nothing.gif"])
def test_endless_goes_on(server, file):
    with urllib.request.urlopen(server.url_of(file, "endless"), timeout=2) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["Content-Length"] is None
        start = PICTURE if file == "a.jpg" else b""
        assert answer.read(len(start)) == start
        assert answer.read(3_000_000) == bytes(3_000_000)


@pytest.mark.parametrize(("name", "tag"), [("noai", "noai, noimageai"), ("noindex", "noindex")])
def test_robots_tags(server, name, tag):
    answer, body = fault(server, name)
    assert (answer.headers["X-Robots-Tag"], body) == (tag, PICTURE)
    assert ask(server, "/a.jpg")[0].headers["X-Robots-Tag"] is None


UNKNOWN = (
    *("nonsense", "", "404:3", "slow:nan", "slow:-1", "slow:99999", "429:soon", "500*", "500*x"),
    *("redirect:-1", "redirect:1000", "redirect_private:8.8.8.8"),
    "redirect_private:10.0.0.1%0d%0aX:y",
)


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_fault_is_400_by_query_and_by_path(server, name):
    for target in (f"/a.jpg?fault={name}", f"/!{name}/a.jpg"):
        answer, body = ask(server, target)
        assert answer.status == 400
        assert answer.headers["X"] is None
        assert repr(name.replace("%0d%0a", "\r\n")) in body.decode()
    assert all(known in ask(server, "/a.jpg?fault=nonsense")[1].decode() for known in FAULTS)


def test_a_fault_may_stand_in_the_path_and_the_query_goes_before(server):
    assert ask(server, "/!410/park/b.PNG")[0].status == 410
    assert ask(server, "/!410/park/b.PNG?fault=none")[1] == PICTURE
    assert ask(server, "/a.jpg?size=large&fault=403")[0].status == 403


def test_the_manual_has_every_fault_and_no_other():
    table = [line for line in module.__doc__.splitlines() if line.startswith("| `")]
    names = [name for line in table for name in re.findall("`([^`]+)`", line.split("|")[1])]
    assert sorted(names) == sorted(FAULTS)


def test_planned_faults_strike_and_a_request_may_ask_for_another(folder):
    with WorldServer(folder, faults={"a.jpg": "410"}) as server:
        assert ask(server, "/a.jpg")[0].status == 410
        assert ask(server, "/a.jpg?fault=none")[1] == PICTURE
        assert ask(server, "/park/b.PNG")[1] == PICTURE
        assert (server.fault_of("a.jpg"), server.fault_of("park/b.PNG")) == ("410", "none")
        assert b"a.jpg</a> 410" in ask(server, "/")[1]


def test_the_draw_is_a_function_of_seed_and_file(folder):
    files = [f"{number}.jpg" for number in range(2000)]

    def drawn(**settings):
        server = WorldServer(folder, fault_share=0.3, **settings)
        return [server.fault_of(file) for file in files]

    first = drawn(seed=1)
    assert first == drawn(seed=1)
    other = drawn(seed=2, drawn=["cut"])
    assert [a == "none" for a in other] != [a == "none" for a in first]
    whole = [WorldServer(folder, fault_share=1, seed=n).fault_of("a.jpg") for n in range(20)]
    assert len({*whole}) > 5
    assert 0.25 < sum(name != "none" for name in first) / len(files) < 0.35
    assert {*first} == {"none", *DRAWN}
    few = drawn(seed=1, drawn=["cut", "500"])
    assert {*few} == {"none", "cut", "500"}
    assert [a == "none" for a in few] == [a == "none" for a in first]
    assert drawn(seed=1, faults={"a.jpg": "cut"}) == first


def test_a_drawn_fault_strikes(folder):
    with WorldServer(folder, fault_share=1, drawn=["410"]) as server:
        assert ask(server, "/a.jpg")[0].status == 410
        assert ask(server, "/")[0].status == 200


def test_the_log_has_the_last_requests(folder, monkeypatch):
    monkeypatch.setattr(module, "LOG_SIZE", 3)
    with WorldServer(folder) as server:
        for method, target in [("GET", "/"), ("HEAD", "/a.jpg?x=1"), ("GET", "/b"), ("POST", "/c")]:
            ask(server, target, method)
        seen = [(request.method, request.path, request.status) for request in server.log]
        times = [request.time for request in server.log]
    assert seen == [("HEAD", "/a.jpg?x=1", 200), ("GET", "/b", 404), ("POST", "/c", 501)]
    assert 0 < times[0] < times[1] < times[2] < 10


def test_a_slow_answer_does_not_hold_up_others(server):
    with urllib.request.urlopen(server.url_of("a.jpg", "slow:60"), timeout=2):
        started = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            bodies = list(pool.map(lambda _: ask(server, "/a.jpg")[1], range(40)))
        assert time.monotonic() - started < 2
    assert bodies == [PICTURE] * 40


def test_stop_ends_everything_under_way_and_frees_the_port(folder):
    before = threading.enumerate()
    server = WorldServer(folder).start()
    address = address_of(server)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(5)]
        asked = ["/a.jpg", "/!endless/a.jpg", "/!slow:600/a.jpg", "/!slow_headers:600/a.jpg"]
        for client, target in zip(clients, asked, strict=False):  # the fifth never asks
            client.sendall(f"GET {target} HTTP/1.1\r\n\r\n".encode())
        time.sleep(0.2)  # until `endless`, which nobody reads, has filled its buffers
        assert len(server.log) == 4
        assert len(threads_since(before)) == 6
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 1
        assert threads_since(before) == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=2)
    with WorldServer(folder, port=address[1]) as again:
        assert ask(again, "/a.jpg")[1] == PICTURE
        assert again.url == f"http://127.0.0.1:{address[1]}"


def test_a_client_that_goes_away_is_no_error(server, capfd):
    for name in ("endless", "slow:60"):
        with urllib.request.urlopen(server.url_of("a.jpg", name), timeout=2) as answer:
            answer.read(1)
    for thread in list(server._server.connections):
        thread.join(2)
        assert not thread.is_alive()
    assert capfd.readouterr().err == ""


def test_start_and_stop_may_be_repeated_but_not_doubled(folder):
    server = WorldServer(folder)
    with pytest.raises(RuntimeError, match="before start"):
        _ = server.url
    server.stop()
    for _ in range(2):
        with server:
            assert ask(server, "/a.jpg")[1] == PICTURE
            with pytest.raises(RuntimeError, match="runs already"):
                server.start()
        server.stop()


def test_a_port_that_is_taken_is_named(server, folder):
    port = urlsplit(server.url).port
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: "):
        WorldServer(folder, port=port).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.168.1.5", "::", "example.org", "127.0.0.1.x"])
def test_a_host_that_others_reach_is_refused(folder, host):
    with pytest.raises(ValueError, match=r"loopback address.*allow_public"):
        WorldServer(folder, host=host)
    assert WorldServer(folder, host=host, allow_public=True).files()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2"])
def test_loopback_has_several_names(folder, host):
    with WorldServer(folder, host=host) as server:
        assert server.url.startswith(f"http://{host}:")
        assert ask(server, "/a.jpg")[1] == PICTURE


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"faults": {"a.jpg": "nonsense"}}, "'nonsense' is not known; known are none, 403"),
        ({"faults": {"absent.jpg": "404"}}, "'absent.jpg', which is no file"),
        ({"faults": {"../secret.jpg": "404"}}, "which is no file"),
        ({"drawn": ["slow:x"], "fault_share": 0.1}, "an argument of slow must match"),
        ({"drawn": [], "fault_share": 0.1}, "drawn must name a fault"),
        ({"fault_share": 1.5}, "fault_share must be 0 to 1, got 1.5"),
        ({"fault_share": float("nan")}, "fault_share must be 0 to 1, got nan"),
        ({"port": 70_000}, "port must be 0 to 65535, got 70000"),
        ({"folder": "/nowhere/at/all"}, "folder must be a folder that exists"),
    ],
)
def test_wrong_arguments_are_refused(server, folder, settings, message):
    with pytest.raises(ValueError, match=message):
        WorldServer(**{"folder": folder, **settings})
    with pytest.raises(ValueError, match="is not known"):
        server.url_of("a.jpg", "nonsense")
