import re
import socket
import threading
import time
import urllib.request
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from nucleus_data.world import server as module
from nucleus_data.world.server import WorldServer
from nucleus_data.world.server_faults import DRAWN
from tests.support.world_server import ODD, PICTURE, address_of, ask, connected


def threads_since(before):
    return [thread for thread in threading.enumerate() if thread not in before]


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


def test_a_planned_redirect_ends_too(folder):
    with WorldServer(folder, faults={"a.jpg": "redirect:2"}) as server:
        with urllib.request.urlopen(server.url_of("a.jpg"), timeout=2) as answer:
            assert answer.read() == PICTURE
        assert [request.status for request in server.log] == [302, 302, 200]


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


def test_start_and_stop_may_be_repeated_but_not_doubled(folder):
    server = WorldServer(folder)
    with pytest.raises(RuntimeError, match="before start"):
        _ = server.url
    server.stop()
    for _ in range(2):
        with server:
            assert ask(server, "/a.jpg")[1] == PICTURE
            with pytest.raises(RuntimeError, match="is already running"):
                server.start()
        server.stop()


def test_a_port_that_is_taken_is_named(server, folder):
    port = urlsplit(server.url).port
    with pytest.raises(OSError, match=rf"can't listen on 127\.0\.0\.1, port {port}: "):
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
        ({"faults": {"a.jpg": "nonsense"}}, "unknown fault 'nonsense'; known: none, 403"),
        ({"faults": {"absent.jpg": "404"}}, "'absent.jpg', which is not a file"),
        ({"faults": {"../secret.jpg": "404"}}, "which is not a file"),
        ({"drawn": ["slow:x"], "fault_share": 0.1}, "an argument of slow must match"),
        ({"drawn": [], "fault_share": 0.1}, "drawn must name a fault"),
        ({"fault_share": 1.5}, "fault_share must be 0 to 1, got 1.5"),
        ({"fault_share": float("nan")}, "fault_share must be 0 to 1, got nan"),
        ({"port": 70_000}, "port must be 0 to 65535, got 70000"),
        ({"folder": "/nowhere/at/all"}, "folder must be an existing folder"),
    ],
)
def test_wrong_arguments_are_refused(server, folder, settings, message):
    with pytest.raises(ValueError, match=message):
        WorldServer(**{"folder": folder, **settings})
    with pytest.raises(ValueError, match="unknown fault"):
        server.url_of("a.jpg", "nonsense")
