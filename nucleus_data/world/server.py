"""Serves a folder of pictures over loopback, with faults on demand, to try downloaders on.

    with WorldServer("pictures") as server:
        server.url_of("park/a.jpg")             # the file
        server.url_of("park/a.jpg", "429:2*3")  # three times 429, Retry-After: 2; then the file

A fault reads `NAME` or `NAME:ARGUMENT`; with `*K` behind it, only the first K requests for that
file with that fault meet it, later ones get the file. A request asks for one by a query
(`/park/a.jpg?fault=cut`) or, for clients that drop queries, by a first segment of the path
(`/!cut/park/a.jpg`). Or it is planned beforehand: `faults={"park/a.jpg": "cut"}` for some files,
and for the others a draw, `fault_share`, that depends on the seed and the file's name alone. What
the request asks for goes before `faults`, and that before the draw.

| fault              | argument (default)      | what the client gets                              |
|--------------------|-------------------------|---------------------------------------------------|
| `none`             |                         | the file, whatever is planned for it              |
| `403` `404` `410`  |                         | that status                                       |
| `429`              | whole seconds (1)       | 429, `Retry-After: SECONDS`                       |
| `429_date`         | whole seconds (2)       | 429, `Retry-After: DATE`, so many seconds on      |
| `500` `503`        |                         | that status                                       |
| `slow`             | seconds in all (5)      | the head at once, the body in a trickle           |
| `slow_headers`     | seconds in all (5)      | the head in a trickle, then the body at once      |
| `cut`              |                         | half of the bytes announced, then the end         |
| `reset`            |                         | a TCP reset in place of an answer                 |
| `redirect`         | how many, 0 to 999 (1)  | that many redirects in a row, then the file       |
| `redirect_loop`    |                         | a redirect to itself                              |
| `redirect_private` | address (10.0.0.1)      | a redirect to that private IPv4 address           |
| `redirect_ftp`     |                         | a redirect to ftp://                              |
| `redirect_nowhere` |                         | a redirect that does not say where to             |
| `wrong_type`       |                         | the file, called text/html                        |
| `html`             |                         | an HTML page, called image/jpeg                   |
| `empty`            |                         | 200 and not one byte                              |
| `endless`          |                         | chunks, first the file's, then zeros, for ever    |
| `noai`             |                         | the file, `X-Robots-Tag: noai, noimageai`         |
| `noindex`          |                         | the file, `X-Robots-Tag: noindex`                 |
| `noml`             |                         | the file, `X-Robots-Tag: noml`                    |
| `none_tag`         |                         | the file, `X-Robots-Tag: none`                    |
| `named`            | name (nucleus-data)     | the file, `X-Robots-Tag: NAME: noai`              |
| `tdm`              |                         | the file, `TDM-Reservation: 1`                    |
| `gzip`             |                         | the file, packed though nobody asked for that     |
| `bomb`             | MiB unpacked (64)       | a JPEG's first bytes and zeros, packed            |
| `brotli`           |                         | the file, said to be packed in another way        |
| `long_header`      | bytes (100000)          | the file, with a header that long                 |
| `cookie`           |                         | the file, `Set-Cookie: a=b`                       |

A fault with another name or argument is answered by 400, which says what is known. Files are read
whole into memory for each request, which suits pictures.
"""

import html
import ipaddress
import math
import os
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from socketserver import TCPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from nucleus_data.hashing import keyed_uint64, keyed_unit
from nucleus_data.world.server_faults import (
    DRAWN,
    FAULTS,
    TEXT,
    Answer,
    labelled,
    parse_fault,
    plain,
)

KINDS = ("avif", "bmp", "gif", "heic", "jpeg", "png", "tiff", "webp")
TYPES = {f".{kind}": f"image/{kind}" for kind in KINDS}
TYPES |= {".jpg": "image/jpeg", ".tif": "image/tiff", ".json": "application/json"}
TYPES |= {".csv": "text/csv; charset=utf-8", ".txt": TEXT}
LOG_SIZE = 10_000
STEP_S = 0.02
POLL_S = 0.02  # how long `stop` waits, at most
ZEROS = bytes(1 << 18)
NO_FAREWELL = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """A request that the server has seen.

    Attributes:
        method: `GET` or `HEAD`, or what else was tried.
        path: As sent, with the query.
        time: Seconds since the server started.
        status: The answer's; 0 where the connection was reset in place of an answer.
        headers: The request's, names in lower case.
        port: The client's: one for each connection.
    """

    method: str
    path: str
    time: float
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    port: int = 0


class WorldServer:
    """An HTTP server for one folder, for as long as the `with` block lasts.

    Only regular files inside the folder are served: nothing hidden, and no link that leads out.
    `/` is an index. Single ranges are answered by 206.

    Args:
        folder: The pictures, at any depth.
        port: To listen on; 0 takes a free one.
        host: A loopback address, or `localhost`.
        faults: Planned faults by file (path in the folder, forward slashes).
        seed: Seed of the draw of faults.
        fault_share: Share of all other files, 0 to 1, for which a fault is drawn.
        drawn: What is drawn from, each as likely as the next.
        allow_public: Lets `host` be an address that other machines reach.

    Raises:
        ValueError: An argument is wrong: no such folder, a host that is not loopback, a fault that
            is not known, a planned file that cannot be served, a number out of its bounds.
    """

    def __init__(
        self,
        folder: Path | str,
        port: int = 0,
        host: str = "127.0.0.1",
        faults: Mapping[str, str] | None = None,
        seed: int = 0,
        fault_share: float = 0.0,
        *,
        drawn: Sequence[str] = DRAWN,
        allow_public: bool = False,
    ) -> None:
        self._folder = Path(folder).resolve()
        if not self._folder.is_dir():
            raise ValueError(f"folder must be a folder that exists, got {str(folder)!r}")
        if not allow_public and not _is_loopback(host):
            raise ValueError(
                f"host must be a loopback address such as 127.0.0.1, got {host!r}; "
                "allow_public=True lets other machines in"
            )
        if not 0 <= port <= 65_535:
            raise ValueError(f"port must be 0 to 65535, got {port}")
        if not 0 <= fault_share <= 1:
            raise ValueError(f"fault_share must be 0 to 1, got {fault_share}")
        if fault_share and not drawn:
            raise ValueError(f"drawn must name a fault where fault_share is {fault_share}")
        self._faults = dict(faults or {})
        for fault in (*self._faults.values(), *drawn):
            parse_fault(fault)
        for file in self._faults:
            if self._find(file) is None:
                raise ValueError(f"faults names {file!r}, which is no file of {self._folder}")
        self._host, self._port = host, port
        self._seed, self._share, self._drawn = seed, fault_share, tuple(drawn)
        self._lock = threading.Lock()
        self._log: deque[Request] = deque(maxlen=LOG_SIZE)
        self._met: Counter[tuple[str, str]] = Counter()
        self._server: _Server | None = None
        self._thread: Thread | None = None

    def __enter__(self) -> "WorldServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> "WorldServer":
        """Listens, and answers in threads of its own until `stop`.

        Raises:
            OSError: The port is taken or may not be used.
            RuntimeError: It runs already.
        """
        if self._server:
            raise RuntimeError(f"the server runs already, at {self.url}")
        try:
            self._server = _Server(self._host, self._port, self)
        except OSError as error:
            where = f"{self._host}, port {self._port}"
            raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}") from error
        serve = self._server.serve_forever
        self._thread = Thread(target=serve, args=(POLL_S,), name="world-server", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends all answers under way, all threads, and frees the port; twice is once."""
        if self._server and self._thread:
            self._server.stopping.set()
            self._server.shutdown()
            self._thread.join()
            self._server.hang_up()
        self._server = self._thread = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end; a RuntimeError while the server is not up."""
        if not self._server:
            raise RuntimeError("the server has no address before start() and after stop()")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_port}"

    def url_of(self, file: str, fault: str | None = None) -> str:
        """The URL of a file.

        Args:
            file: Its path in the folder, with forward slashes; need not exist.
            fault: What to ask for; None leaves it at what is planned.

        Raises:
            ValueError: The fault is not known.
        """
        if fault is None:
            return self.url + _quoted(file)
        parse_fault(fault)
        return f"{self.url}{_quoted(file)}?fault={quote(fault, safe=':*')}"

    def fault_of(self, file: str) -> str:
        """What is planned for a file: a fault, or `none`."""
        key = _quoted(file)
        if file in self._faults:
            return self._faults[file]
        if keyed_unit("world-server-faulty", self._seed, key) >= self._share:
            return "none"
        return self._drawn[keyed_uint64("world-server-fault", self._seed, key) % len(self._drawn)]

    def files(self) -> list[str]:
        """The files served, sorted; those behind a link to a folder are served but not listed."""
        paths = (path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*"))
        return sorted(file for file in paths if self._find(file))

    @property
    def most_open(self) -> int:
        """The most connections that were open at a time since the start."""
        return self._server.most_open if self._server else 0

    @property
    def log(self) -> list[Request]:
        """The last 10 000 requests, oldest first; each is there before its answer begins."""
        with self._lock:
            return list(self._log)

    def _answer(self, target: str, wanted: str | None) -> Answer:
        """The answer to a request's target and its `Range`, faults included."""
        path, _, query = target.partition("?")
        fault = dict(parse_qsl(query, keep_blank_values=True)).get("fault")
        if path.startswith("/!"):
            prefix, _, path = path[2:].partition("/")
            path = f"/{path}"
            fault = unquote(prefix) if fault is None else fault
        file = unquote(path[1:], errors="surrogateescape") if path.startswith("/") else ".."
        try:
            fault = (self.fault_of(file) if file else "none") if fault is None else fault
            name, argument, first = parse_fault(fault)
        except ValueError as error:
            return plain(path, 400, str(error))
        healthy = self._healthy(file, wanted) if file else self._index()
        if healthy.status == 404:
            return healthy
        if first is not None:
            with self._lock:
                self._met[file, fault] += 1
                if self._met[file, fault] > first:
                    return healthy
        return FAULTS[name](healthy, argument)

    def _healthy(self, file: str, wanted: str | None) -> Answer:
        path, found = _quoted(file), self._find(file)
        if found is None:
            return plain(path, 404)
        body = found.read_bytes()
        kind = TYPES.get(found.suffix.lower(), "application/octet-stream")
        answer = Answer(path, 200, {"Content-Type": kind, "Accept-Ranges": "bytes"}, body)
        part = _range(wanted, len(body))
        if part is None:
            return answer
        if not part:
            return plain(path, 416, Content_Range=f"bytes */{len(body)}")
        span = f"bytes {part.start}-{part.stop - 1}/{len(body)}"
        body = body[part.start : part.stop]
        return labelled(replace(answer, status=206, body=body), Content_Range=span)

    def _index(self) -> Answer:
        lines = [
            f'<li><a href="{html.escape(_quoted(file))}">{html.escape(file)}</a> '
            f"{html.escape(self.fault_of(file))}</li>"
            for file in self.files()
        ]
        page = "\n".join(["<!DOCTYPE html>", "<title>Pictures</title>", "<ul>", *lines, "</ul>\n"])
        kind = {"Content-Type": "text/html; charset=utf-8"}
        return Answer("/", 200, kind, page.encode("utf-8", "replace"))

    def _find(self, file: str) -> Path | None:
        """The real path of a file that may be served."""
        parts = file.split("/")
        try:
            found = self._folder.joinpath(*parts).resolve(strict=True)
            parts += found.relative_to(self._folder).parts
            hidden = any(part.startswith(".") or not part for part in parts)
            served = found.is_file() and not hidden and os.access(found, os.R_OK)
        except (OSError, RuntimeError, ValueError):
            return None  # absent; links in a circle; outside, or a zero byte in the name
        return found if served else None


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that it can end them."""

    request_queue_size = 128

    def __init__(self, host: str, port: int, world: WorldServer) -> None:
        self.world = world
        self.stopping = threading.Event()
        self.started = time.monotonic()
        self.connections: dict[Thread, socket.socket] = {}
        self.most_open = 0
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__(("127.0.0.1" if host == "localhost" else host, port), _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask a name server about its own address
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        # Dead threads are dropped here, not by themselves, so that `hang_up` joins all that live;
        # only the thread that accepts, and `hang_up` after its end, touch the list.
        self.connections = {t: s for t, s in self.connections.items() if t.is_alive()}
        end = (request, client_address)
        thread = Thread(target=self.process_request_thread, args=end, daemon=True)
        self.connections[thread] = request
        self.most_open = max(self.most_open, len(self.connections))
        thread.start()

    def hang_up(self) -> None:
        """Ends all connections and waits for their threads, once none is accepted any more."""
        self.server_close()
        for connection in self.connections.values():
            with suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self.connections:
            thread.join(5)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that goes away is no error here
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # nobody reads that body; it must not pass for a request
        ranged = self.command == "GET" and "If-Range" not in self.headers
        answer = self.server.world._answer(self.path, self.headers["Range"] if ranged else None)
        self.log_request(answer.status)
        if not answer.status:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_FAREWELL)
            # Closing it the usual way would say goodbye (FIN) before the reset.
            socket.close(self.connection.detach())
            return
        self.close_connection |= answer.sent is not None
        self._write(self._head(answer), answer.head_seconds)
        if self.command == "HEAD":
            return
        chunk = answer.body or ZEROS
        while answer.endless:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            chunk = ZEROS
            self._wait(0.01)
        self._write(answer.body[: answer.sent], answer.body_seconds)

    do_HEAD = do_GET

    def _head(self, answer: Answer) -> bytes:
        length = {"Content-Length": str(len(answer.body))}
        headers = answer.headers | ({"Transfer-Encoding": "chunked"} if answer.endless else length)
        headers["Connection"] = "close" if self.close_connection else "keep-alive"
        lines = [f"{name}: {value}" for name, value in headers.items()]
        first = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"
        return "\r\n".join([first, *lines, "", ""]).encode("latin-1")

    def _write(self, data: bytes, seconds: float) -> None:
        """Writes at once, or in pieces spread over some seconds."""
        pieces = max(1, min(len(data), math.ceil(seconds / STEP_S)))
        for start, end in pairwise(len(data) * number // pieces for number in range(pieces + 1)):
            self._wait(seconds / pieces)
            self.wfile.write(data[start:end])

    def _wait(self, seconds: float) -> None:
        if seconds and self.server.stopping.wait(seconds):
            raise ConnectionAbortedError("the server stops")

    def log_request(self, code: int | str = 0, size: int | str = 0) -> None:
        path = self.path if self.command else self.requestline
        since = time.monotonic() - self.server.started
        world = self.server.world
        with world._lock:
            given = {name.lower(): value for name, value in getattr(self, "headers", {}).items()}
            port = int(self.client_address[1])
            world._log.append(Request(self.command or "", path, since, int(code), given, port))

    def log_message(self, format: str, *args: Any) -> None:
        return


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _quoted(file: str) -> str:
    """A file's URL path; a `!` is quoted too, so that no file's name asks for a fault."""
    return "/" + quote(file, errors="surrogateescape")


def _range(wanted: str | None, size: int) -> range | None:
    """The bytes that a `Range` header asks for: empty for 416, None for a header to ignore."""
    found = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", (wanted or "").replace(" ", ""))
    if not found or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)
