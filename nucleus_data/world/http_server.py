"""The world's HTTP server on its socket: it sends answers, slowly or broken, and ends on demand.

What it answers is not decided here: it asks `Answers`, and tells it of each request.
"""

import math
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from socketserver import TCPServer
from threading import Thread
from typing import Any, Protocol

from nucleus_data.world.http_answers import Answer

STEP_S = 0.02  # between the pieces of what is sent slowly
ZEROS = bytes(1 << 18)
# The value of SO_LINGER with which closing a socket resets its connection.
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


class Answers(Protocol):
    """Who decides what a server answers; asked from many threads."""

    def answer(self, target: str, wanted: str | None) -> Answer:
        """The answer to a request's target and its `Range`."""

    def record(self, request: Request) -> None:
        """Takes note of a request, before its answer begins."""


class HttpServer(ThreadingHTTPServer):
    """A server that knows its connections, so that it can end them.

    Attributes:
        most_open: The most connections that were open at a time.
        stopping: Set to end what is sent slowly or for ever.
    """

    request_queue_size = 128

    def __init__(self, host: str, port: int, answers: Answers) -> None:
        self.answers = answers
        self.stopping = threading.Event()
        self.started = time.monotonic()
        self.connections: dict[Thread, socket.socket] = {}
        self.most_open = 0
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__(("127.0.0.1" if host == "localhost" else host, port), _Handler)

    def server_bind(self) -> None:
        """Takes the port, and notes the address."""
        TCPServer.server_bind(self)  # HTTPServer's would ask a name server about its own address
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers a connection in a thread of its own."""
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
        """Prints what went wrong with a connection, but for the connection itself."""
        if not isinstance(sys.exc_info()[1], OSError):  # a client that goes away is no error here
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection: its requests one after another, each answered as `Answer` says."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def do_GET(self) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # nobody reads that body; it must not pass for a request
        ranged = self.command == "GET" and "If-Range" not in self.headers
        answer = self.server.answers.answer(self.path, self.headers["Range"] if ranged else None)
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
            raise ConnectionAbortedError("the server is stopping")

    def log_request(self, code: int | str = 0, size: int | str = 0) -> None:
        path = self.path if self.command else self.requestline
        since = time.monotonic() - self.server.started
        given = {name.lower(): value for name, value in getattr(self, "headers", {}).items()}
        port = int(self.client_address[1])
        request = Request(self.command or "", path, since, int(code), given, port)
        self.server.answers.record(request)

    def log_message(self, format: str, *args: Any) -> None:
        return
