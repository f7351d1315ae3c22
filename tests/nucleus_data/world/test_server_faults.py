import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from nucleus_data.world import server_faults
from nucleus_data.world.server_faults import FAULTS
from tests.support.world_server import PICTURE, ask, fault


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


def test_redirects_end_at_the_file(server):
    with urllib.request.urlopen(server.url_of("park/ü.webp", "redirect:3"), timeout=2) as answer:
        assert answer.read() == PICTURE
    assert [request.status for request in server.log] == [302, 302, 302, 200]


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
    table = [line for line in server_faults.__doc__.splitlines() if line.startswith("| `")]
    names = [name for line in table for name in re.findall("`([^`]+)`", line.split("|")[1])]
    assert sorted(names) == sorted(FAULTS)
