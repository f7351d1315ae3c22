"""A store over HTTP, as slow as asked for: so long a request, so many bytes a second.

    with slow_store(folder, delay_s=0.03, bytes_a_second=100e6) as url: ...

In a process of its own, so that serving takes no time of the reader's.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BLOCK = 1 << 16


class _Line:
    """A line to the store that all its requests share."""

    def __init__(self, delay_s: float, bytes_a_second: float) -> None:
        self.delay_s, self.rate = delay_s, bytes_a_second
        self.lock = threading.Lock()
        self.free_at = 0.0

    def wait(self, count: int) -> None:
        """Waits until so many bytes have gone through."""
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic()) + count / self.rate
            left = self.free_at - time.monotonic()
        if left > 0:
            time.sleep(left)


class _Handler(SimpleHTTPRequestHandler):
    """Files and their ranges."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, line: _Line, **options: Any) -> None:
        self.line = line
        super().__init__(*args, **options)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """Answers with a file, a range of it, or a folder's list."""
        time.sleep(self.line.delay_s)
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            super().do_GET()
            return
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        start, end = 0, size
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(size, int(last) + 1 if last else size)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        with path.open("rb") as file:
            file.seek(start)
            while start < end:
                block = file.read(min(BLOCK, end - start))
                self.line.wait(len(block))
                self.wfile.write(block)
                start += len(block)

    def do_HEAD(self) -> None:
        """Answers with a file's size."""
        time.sleep(self.line.delay_s)
        super().do_HEAD()


class _Server(ThreadingHTTPServer):
    """Says nothing of a reader that went away: one that has its first batch does."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says what went wrong, unless the reader went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def slow_store(folder: Path, delay_s: float, bytes_a_second: float) -> Iterator[str]:
    """Serves a folder; yields its URL.

    Args:
        folder: What is served.
        delay_s: Before each answer.
        bytes_a_second: Of all answers together.
    """
    command = [sys.executable, __file__, str(folder), str(delay_s), str(bytes_a_second)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Serves until it is ended."""
    folder, delay_s, rate = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    handler = partial(_Handler, directory=folder, line=_Line(delay_s, rate))
    server = _Server(("127.0.0.1", 0), handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
