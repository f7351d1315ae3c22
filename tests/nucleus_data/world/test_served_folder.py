import urllib.request

import pytest

from nucleus_data.world.server import WorldServer
from tests.support.world_server import ODD, PICTURE, ask

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


def test_a_name_that_is_not_utf8_is_served(tmp_path):
    (tmp_path / "\udcff.jpg").write_bytes(PICTURE)
    with WorldServer(tmp_path, fault_share=1, drawn=["noai"]) as server:
        assert server.files() == ["\udcff.jpg"]
        assert server.url_of("\udcff.jpg").endswith("/%FF.jpg")
        answer, body = ask(server, "/%FF.jpg")
        assert (body, answer.headers["X-Robots-Tag"]) == (PICTURE, "noai, noimageai")
        assert ask(server, "/")[0].status == 200
