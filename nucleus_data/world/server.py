"""Serves a folder of pictures over loopback, with faults on demand, to try downloaders on.

with WorldServer("pictures") as server:
        server.url_of("park/a.jpg")             # the file
        server.url_of("park/a.jpg", "429:2*3")  # three times 429, Retry-After: 2; then the file

`server_faults` lists the faults, and how a request asks for one. Or a fault is planned beforehand:
`faults={"park/a.jpg": "cut"}` for some files, and for the others a draw, `fault_share`, that
depends on the seed and the file's name alone. What the request asks for goes before `faults`, and
that before the draw.

Files are read whole into memory for each request, which suits pictures.
"""

import html
import ipaddress
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, quote, unquote

from nucleus_data.hashing import keyed_uint64, keyed_unit
from nucleus_data.world.http_answers import Answer, plain
from nucleus_data.world.http_server import HttpServer, Request
from nucleus_data.world.served_folder import ServedFolder, quoted
from nucleus_data.world.server_faults import DRAWN, FAULTS, parse_fault

LOG_SIZE = 10_000
POLL_S = 0.02  # how long `stop` waits, at most


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

    Attributes:
        folder: The files that are served.

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
        self.folder = ServedFolder(folder)
        if not allow_public and not _is_loopback(host):
            raise ValueError(
                f"host must be a loopback address such as 127.0.0.1, got {host!r}; "
                "set allow_public=True to allow other machines"
            )
        if not 0 <= port <= 65_535:
            raise ValueError(f"port must be 0 to 65535, got {port}")
        if not 0 <= fault_share <= 1:
            raise ValueError(f"fault_share must be 0 to 1, got {fault_share}")
        if fault_share and not drawn:
            raise ValueError(f"drawn must name a fault if fault_share is {fault_share}")
        self._faults = dict(faults or {})
        for fault in (*self._faults.values(), *drawn):
            parse_fault(fault)
        for file in self._faults:
            if self.folder.find(file) is None:
                raise ValueError(
                    f"faults names {file!r}, which is not a file in {self.folder.path}"
                )
        self._host, self._port = host, port
        self._seed, self._share, self._drawn = seed, fault_share, tuple(drawn)
        self._lock = threading.Lock()
        self._log: deque[Request] = deque(maxlen=LOG_SIZE)
        self._met: Counter[tuple[str, str]] = Counter()
        self._server: HttpServer | None = None
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
            raise RuntimeError(f"the server is already running at {self.url}")
        try:
            self._server = HttpServer(self._host, self._port, self)
        except OSError as error:
            where = f"{self._host}, port {self._port}"
            raise OSError(error.errno, f"can't listen on {where}: {error.strerror}") from error
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
            return self.url + quoted(file)
        parse_fault(fault)
        return f"{self.url}{quoted(file)}?fault={quote(fault, safe=':*')}"

    def fault_of(self, file: str) -> str:
        """What is planned for a file: a fault, or `none`."""
        key = quoted(file)
        if file in self._faults:
            return self._faults[file]
        if keyed_unit("world-server-faulty", self._seed, key) >= self._share:
            return "none"
        return self._drawn[keyed_uint64("world-server-fault", self._seed, key) % len(self._drawn)]

    def files(self) -> list[str]:
        """The files served, sorted; those behind a link to a folder are served but not listed."""
        return self.folder.files()

    @property
    def most_open(self) -> int:
        """The most connections that were open at a time since the start."""
        return self._server.most_open if self._server else 0

    @property
    def log(self) -> list[Request]:
        """The last 10 000 requests, oldest first; each is there before its answer begins."""
        with self._lock:
            return list(self._log)

    def record(self, request: Request) -> None:
        """Adds a request to the log."""
        with self._lock:
            self._log.append(request)

    def answer(self, target: str, wanted: str | None) -> Answer:
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
        healthy = self.folder.answer(file, wanted) if file else self._index()
        if healthy.status == 404:
            return healthy
        if first is not None:
            with self._lock:
                self._met[file, fault] += 1
                if self._met[file, fault] > first:
                    return healthy
        return FAULTS[name](healthy, argument)

    def _index(self) -> Answer:
        """A page that lists the files, each with what is planned for it."""
        lines = [
            f'<li><a href="{html.escape(quoted(file))}">{html.escape(file)}</a> '
            f"{html.escape(self.fault_of(file))}</li>"
            for file in self.files()
        ]
        page = "\n".join(["<!DOCTYPE html>", "<title>Pictures</title>", "<ul>", *lines, "</ul>\n"])
        kind = {"Content-Type": "text/html; charset=utf-8"}
        return Answer("/", 200, kind, page.encode("utf-8", "replace"))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
