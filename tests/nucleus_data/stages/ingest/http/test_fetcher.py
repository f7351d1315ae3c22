"""The fetcher against a hostile server: each row its own true reason, and the server's own log."""

import asyncio
import resource
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from nucleus_data.stages.ingest.fetch_settings import FetchSettings
from nucleus_data.stages.ingest.http.fetcher import fetch_urls
from nucleus_data.stages.ingest.http.told import heard, tell
from nucleus_data.world.server import WorldServer
from tests.support.web import HERE, QUICK, fetched, on, picture, served

# Fault -> the reason, and how often its URL is asked (with one further attempt).
FAULTS = {
    "none": (None, 1),
    "403": ("http_403", 1),
    "404": ("http_404", 1),
    "410": ("http_410", 1),
    "429:1*1": (None, 2),
    "429_date:1*1": (None, 2),
    "429:3600": ("http_429", 1),
    "429_date:3600": ("http_429", 1),
    "500": ("http_500", 2),
    "503": ("http_503", 2),
    "503*1": (None, 2),
    "slow:0.2": (None, 1),
    "slow:60": ("too_slow", 1),
    "slow_headers:0.2": (None, 1),
    "slow_headers:60": ("timeout", 2),
    "cut": ("connection", 2),
    "cut*1": (None, 2),
    "reset": ("connection", 2),
    "redirect:2": (None, 1),
    "redirect:50": ("too_many_redirects", 1),
    "redirect_loop": ("redirect_loop", 1),
    "redirect_private": ("private_address", 1),
    "redirect_ftp": ("bad_scheme", 1),
    "redirect_nowhere": ("http_302", 1),
    "wrong_type": (None, 1),
    "html": ("not_an_image", 1),
    "empty": ("empty_file", 1),
    "endless": ("too_large", 1),
    "noai": ("opt_out_noai", 1),
    "noindex": ("opt_out_noindex", 1),
    "noml": ("opt_out_noml", 1),
    "none_tag": ("opt_out_none", 1),
    "named": ("opt_out_noai", 1),
    "named:otherbot": (None, 1),
    "tdm": ("opt_out_tdm", 1),
    "gzip": (None, 1),
    "bomb:8": ("too_large", 1),
    "brotli": ("bad_encoding", 1),
    "long_header": ("bad_answer", 1),
    "cookie": (None, 1),
}
RETRYABLE = {"http_429", "http_500", "http_503", "too_slow", "timeout", "connection", "empty_file"}
# It takes the whole of a time-out, twice.
PATIENT = "slow_headers:60"
UNASKED = {
    "http://user:secret@nowhere.invalid/a.jpg": "dns",
    "http://10.0.0.1/a.jpg": "private_address",
    "http://[::ffff:10.0.0.1]/a.jpg": "private_address",
    "http://[64:ff9b::a00:1]/a.jpg": "private_address",
    "http://169.254.169.254/latest": "private_address",
    "ftp://ok.test/a.jpg": "bad_scheme",
    "file:///etc/passwd": "bad_scheme",
    "data:image/png;base64,AA": "bad_scheme",
    "http:///a.jpg": "bad_url",
    "http://ok.test:99999/a.jpg": "bad_url",
    "": "bad_scheme",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    robots = "User-agent: *\nDisallow: /private/\n\nUser-agent: otherbot\nDisallow: /\n"
    top = served(tmp_path_factory.mktemp("web") / "pictures", 120, robots)
    (top / "private").mkdir()
    (top / "private/0.png").write_bytes(picture(0))
    return top


@pytest.fixture
def server(folder):
    with WorldServer(folder) as made:
        yield made


def host_of(fault):
    """A host of its own for each kind, so that no other's breaker or pause counts."""
    return "".join(c if c.isalnum() else "-" for c in fault) + ".test"


@pytest.mark.parametrize(
    "faults",
    [
        [name for name in FAULTS if name != PATIENT],
        pytest.param([*FAULTS], marks=pytest.mark.slow),
    ],
    ids=["quick", "all"],
)
def test_every_row_has_its_own_true_reason_and_nothing_is_asked_that_must_not_be(
    server, tmp_path, hasty, faults
):
    rows = []  # URL, reason, how often it is asked
    for number in range(3):
        for fault in faults:
            reason, times = FAULTS[fault]
            url = on(host_of(fault), server.url_of(f"{number * 40 + len(rows) % 40}.png", fault))
            rows.append((url, reason, times))
    rows += [(url, reason, 0) for url, reason in UNASKED.items()]
    rows.append((on("private.test", server.url_of("private/0.png")), "robots_txt", 0))
    rows += [(url, reason, 0) for url, reason, _ in rows[:3]]  # the same URLs again
    rows.append((None, "bad_scheme", 0))
    assert len(rows) >= 120
    outcomes = fetched(
        [url for url, *_ in rows],
        tmp_path,
        contact="data@example.org",
        retries=1,
    )
    expected = [(url, reason) for url, reason, _ in rows]
    assert list(zip([url for url, *_ in rows], [o.reason for o in outcomes], strict=True)) == (
        expected
    )
    for (_, reason, _), outcome in zip(rows, outcomes, strict=True):
        assert outcome.retryable == (reason in RETRYABLE or reason == "dns")
        assert (outcome.data is None) == (reason is not None)
    asked = Counter(request.path for request in server.log)
    for url, _, times in rows:
        if times:
            assert asked["/" + url.partition(".test")[2].partition("/")[2]] == times, url
    assert not any("/private/" in path for path in asked)
    assert asked["/robots.txt"] == len({host_of(fault) for fault in faults}) + 1
    for request in server.log:
        assert request.headers["user-agent"].endswith("(+data@example.org)")
        assert request.headers["accept-encoding"] == "identity"
        assert not {"authorization", "cookie"} & request.headers.keys()


def test_pictures_are_the_servers_and_the_final_url_is_told(server, tmp_path):
    urls = [server.url_of("1.png"), server.url_of("2.png", "redirect:1"), server.url_of("1.png")]
    first, second, third = fetched(urls, tmp_path)
    assert (first.data, second.data, third.data) == (picture(1), picture(2), picture(1))
    assert (first.final_url, second.final_url) == (None, server.url + "/2.png?fault=redirect:0")


def test_a_redirect_to_another_host_is_looked_at_again(server, tmp_path):
    found = fetched([server.url_of("2.png", "redirect_private:127.0.0.1")], tmp_path, retries=0)[0]
    assert found.reason in (
        "connection",
        "http_404",
    )  # the host is allowed: port 80 of this machine
    found = fetched([server.url_of("2.png", "redirect_private")], tmp_path / "b")[0]
    assert (found.reason, found.final_url) == ("private_address", "http://10.0.0.1/")


def test_limits_on_connections_and_rate_hold(server, tmp_path):
    urls = [server.url_of(f"{n}.png", "slow:0.05") for n in range(12)]
    fetched(urls, tmp_path, host_connections=3, robots=False, timeout_s=5)
    assert server.most_open <= 3
    assert len({request.port for request in server.log}) == 3  # connections are kept
    with WorldServer(server.folder.path) as other:
        urls = [on(f"{'ab'[n % 2]}.example.com", other.url_of(f"{n}.png")) for n in range(10)]
        # By this process's clock: what a busy server notes of times is bunched.
        start = time.monotonic()
        fetched(urls, tmp_path / "b", domain_rate=60)
        assert time.monotonic() - start >= 0.9 * 9 / 60
        assert sum("robots" not in request.path for request in other.log) == 10


def test_a_retry_after_holds_the_host_for_all(server, tmp_path, hasty):
    urls = [server.url_of("0.png", "429:1*1")] + [server.url_of(f"{n}.png") for n in range(1, 9)]
    outcomes = fetched(urls, tmp_path, host_connections=1, robots=False)
    assert [o.reason for o in outcomes] == [None] * 9
    times = [request.time for request in server.log]
    assert times[1] - times[0] >= 0.099


def test_a_longer_retry_after_ends_the_row_and_no_other(server, tmp_path):
    urls = [server.url_of("0.png", "429:6"), server.url_of("1.png")]
    outcomes = fetched(urls, tmp_path, max_wait=5)
    assert [(o.reason, o.retryable) for o in outcomes] == [("http_429", True), (None, False)]
    assert "ingest.max_wait, 5 s" in outcomes[0].detail


def test_a_host_that_is_down_is_given_up(server, tmp_path):
    urls = [on("down.test", server.url_of(f"{n}.png", "reset")) for n in range(60)]
    urls += [on("up.test", server.url_of(f"{n}.png")) for n in range(20)]
    outcomes = fetched(urls, tmp_path, breaker=5, max_wait=0.05, retries=0, host_connections=2)
    reasons = Counter(o.reason for o in outcomes[:60])
    assert set(reasons) == {"connection", "host_down"}
    assert all(o.retryable for o in outcomes[:60])
    assert reasons["connection"] <= 9
    assert [o.reason for o in outcomes[60:]] == [None] * 20


@pytest.mark.parametrize(
    ("robots", "reason"),
    [
        ("404", None),
        ("500", "robots_unreachable"),
        ("reset", "robots_unreachable"),
        ("redirect:5", "robots_txt"),
        ("redirect:6", None),
        ("html", None),
        ("gzip", "robots_txt"),
    ],
)
def test_robots_txt_by_rfc_9309(tmp_path, robots, reason):
    top = served(tmp_path / "web", 2, "User-agent: *\nDisallow: /1.png\n")
    with WorldServer(top, faults={"robots.txt": robots}) as server:
        urls = [server.url_of("1.png"), server.url_of("1.png", "none")]
        outcomes = fetched(urls, tmp_path / "out", max_wait=0.01)
        assert [o.reason for o in outcomes] == [reason] * 2
        asked = [request.path for request in server.log if "1.png" in request.path]
        assert len(asked) == (2 if reason is None else 0)


def test_a_head_that_never_comes_is_a_time_out(server, tmp_path):
    url = server.url_of("1.png", "slow_headers:60")
    (found,) = fetched([url], tmp_path, timeout_s=0.1, retries=0, robots=False)
    assert (found.reason, found.retryable) == ("timeout", True)


def test_robots_and_opt_outs_can_be_switched_off(server, tmp_path):
    urls = [server.url_of("private/0.png"), server.url_of("1.png", "noai")]
    assert [o.reason for o in fetched(urls, tmp_path, robots=False, opt_out=())] == [None, None]
    assert "/robots.txt" not in {request.path for request in server.log}


def test_a_slow_host_holds_nobody(server, tmp_path):
    urls = [on("slow.test", server.url_of(f"{n}.png", "slow:0.15")) for n in range(4)]
    urls += [on(f"h{n % 10}.test", server.url_of(f"{n}.png")) for n in range(40)]
    outcomes = fetched(urls, tmp_path, threads=4, host_connections=1, robots=False)
    assert [o.reason for o in outcomes] == [None] * 44
    slow = [r.time for r in server.log if "slow" in r.path]
    others = [r.time for r in server.log if "slow" not in r.path]
    assert max(others) < max(slow)


def test_what_was_kept_is_not_asked_again(server, tmp_path):
    urls = [server.url_of(f"{n}.png") for n in range(6)]
    first = fetched(urls, tmp_path)
    count = len(server.log)
    assert fetched(urls, tmp_path) == first
    assert len(server.log) == count


def test_it_runs_where_an_event_loop_runs(server, tmp_path):
    async def notebook():
        said = FetchSettings(allow_hosts=(HERE,))
        return list(fetch_urls([server.url_of("1.png")], said, 1 << 20, tmp_path))

    assert asyncio.run(notebook())[0].data == picture(1)


def test_no_proxy_of_the_environment(server, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetched([server.url_of("1.png")], tmp_path)[0].data == picture(1)


class Proxy(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        Proxy.asked.append(self.path)
        body = picture(7) if self.path.endswith(".png") else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


def test_a_proxy_that_is_said_is_asked(tmp_path):
    with ThreadingHTTPServer((HERE, 0), Proxy) as httpd:
        Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        proxy = f"http://localhost:{httpd.server_port}"
        said = FetchSettings(proxy=proxy)
        found = list(fetch_urls(["http://far.example.com/a.png"], said, 1 << 20, tmp_path))
        httpd.shutdown()
    assert [o.data for o in found] == [picture(7)]
    asked = [f"http://far.example.com/{name}" for name in ("robots.txt", "a.png")]
    assert Proxy.asked == asked
    with pytest.raises(ValueError, match="without a user name or password"):
        FetchSettings(proxy="http://me:secret@localhost:3128")


def test_workers_share_the_limits_of_a_host(server, tmp_path):
    said = FetchSettings(allow_hosts=(HERE,), host_rate=200, domain_rate=1e4, robots=False)
    urls = [server.url_of(f"{n}.png") for n in range(10)]
    list(fetch_urls(urls, said, 1 << 20, tmp_path, share=lambda domain: 4))
    times = [request.time for request in server.log]
    assert times[-1] - times[0] >= 0.9 * 9 * 4 / 200


def slow_robots(tmp_path, delay, rest=""):
    robots = f"User-agent: *\nCrawl-delay: {delay}\n{rest}"
    return WorldServer(served(tmp_path / "slow", 6, robots))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_crawl_delay_is_kept_by_all_workers_together(tmp_path, workers):
    with slow_robots(tmp_path, 0.1) as server:
        said = FetchSettings(**{**QUICK, "allow_hosts": (HERE,)})
        urls = [server.url_of(f"{n}.png") for n in range(4)]
        found = list(fetch_urls(urls, said, 1 << 20, tmp_path, share=lambda domain: workers))
        assert [o.reason for o in found] == [None] * 4
        times = [request.time for request in server.log]  # robots.txt first
        assert len(times) == 5
        # All together: what a busy server notes of times is bunched.
        assert times[-1] - times[0] >= 0.095 * 4 * workers
        assert server.most_open == 1


def test_a_host_with_a_crawl_delay_holds_nobody(server, tmp_path):
    with slow_robots(tmp_path, 0.3) as other:
        urls = [on("slow.test", other.url_of(f"{n}.png")) for n in range(3)]
        urls += [on(f"h{n}.test", server.url_of(f"{n}.png")) for n in range(6)]
        assert {o.reason for o in fetched(urls, tmp_path, threads=1)} == {None}
        assert len(other.log) == 4
        start = other.log[0].time
        assert other.log[1].time - start >= 0.29
        # All of the others were asked while the first of the slow host waited for its turn.
        ended = server.log[-1].time - server.log[0].time
        assert ended < other.log[2].time - start


def test_a_longer_crawl_delay_than_is_allowed_ends_the_rows(tmp_path):
    with slow_robots(tmp_path, 31, "Disallow: /5.png") as server:
        urls = [server.url_of(f"{n}.png") for n in range(6)]
        # One a second: what is not asked waits for no turn.
        found = fetched(urls, tmp_path, host_rate=1)
        assert [(o.reason, o.retryable) for o in found] == [
            *[("crawl_delay", True)] * 5,
            ("robots_txt", False),
        ]
        assert "asks for 31 s between requests" in found[0].detail
        assert "ingest.max_crawl_delay" in found[0].detail
        assert [request.path for request in server.log] == ["/robots.txt"]


def test_a_disk_that_is_full_ends_it(server, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            fetched([server.url_of(f"{n}.png") for n in range(9)], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_request_has_a_deadline_for_all_of_it(server, tmp_path):
    url = server.url_of("1.png", "slow:60")
    (found,) = fetched([url], tmp_path, deadline_s=0.2, min_rate=0, timeout_s=10, robots=False)
    assert (found.reason, found.retryable) == ("timeout", True)
    assert found.detail == "not whole after 0.2 s (ingest.deadline_s)"
    assert len(server.log) == 1


def test_the_counts_so_far_are_told_while_it_fetches(server, tmp_path, monkeypatch):
    monkeypatch.setattr("nucleus_data.stages.ingest.http.fetcher.TELL_S", 0.02)
    told, began = [], time.time() - 1  # a file's time is a little behind

    def noted(*counts):
        tell(*counts)
        told.append(heard(tmp_path, began))

    monkeypatch.setattr("nucleus_data.stages.ingest.http.fetcher.tell", noted)
    urls = [server.url_of("1.png"), server.url_of("2.png", "404"), server.url_of("3.png", "slow:1")]
    fetched(urls, tmp_path, timeout_s=5)
    size = len(picture(1))
    assert {"images": 1, "bytes": size, "reasons": {"http_404": 1}, "hosts": {}} in told
    assert heard(tmp_path, began + 3600) is None
