"""Pictures that the world's server serves, and a client that sends requests as they are."""

import http.client
import os
import socket
from urllib.parse import urlsplit

PICTURE = bytes(range(256)) * 8  # no decoder ever sees it: bytes that tell their place will do
ODD = 'a <b>&"#?%!.png'


def served_pictures(top):
    """Makes a folder of pictures, with what must not be served; returns it."""
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
