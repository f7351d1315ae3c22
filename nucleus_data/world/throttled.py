"""An object store for tests and benches: a local folder whose requests are counted and take a time.

`throttled:///path/of/a/corpus` with `storage_options: {delay_s: 0.03}` is a store that answers in
30 ms. Its requests are those that S3 would get: a listing is one for each thousand names, an opened
file asks for its size and then for ranges, a range is one.
"""

import contextlib
import datetime
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from fsspec.utils import tokenize

PROTOCOL = "throttled"
LISTED = 1000  # names that one request of a listing returns


class Requests:
    """The requests of this process, each with what it was, and when it began and ended.

    Attributes:
        made: Kind, path, begin and end in seconds.
        bytes: How many bytes were read.
    """

    def __init__(self) -> None:
        self.made: list[tuple[str, str, float, float]] = []
        self.bytes = 0
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forgets all of them."""
        with self._lock:
            self.made, self.bytes = [], 0

    def add(self, kind: str, path: str, begin: float, end: float) -> None:
        """Notes one."""
        with self._lock:
            self.made.append((kind, path, begin, end))

    @property
    def depth(self) -> int:
        """How many were made one after the other: the most of which no two overlap in time."""
        found, last = 0, 0.0
        for _, _, begin, end in sorted(self.made, key=lambda one: one[3]):
            if begin >= last:
                found, last = found + 1, end
        return found

    @property
    def at_once(self) -> int:
        """The most that were under way at a time."""
        changes = [(end, -1) for *_, end in self.made] + [(begin, 1) for *_, begin, _ in self.made]
        now = most = 0
        for _, change in sorted(changes):
            now += change
            most = max(most, now)
        return most

    def count(self, kind: str = "") -> int:
        """How many there were, of one kind if it is given: `list`, `info`, `read`, `write`."""
        return sum(kind in ("", one[0]) for one in self.made)


REQUESTS = Requests()


class ThrottledFileSystem(AbstractFileSystem):
    """A local folder as an object store.

    Args:
        delay_s: How long each request takes, in seconds.
        options: Of fsspec.
    """

    protocol = PROTOCOL
    root_marker = "/"

    def __init__(self, delay_s: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.delay_s = delay_s

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return str(path).removeprefix(f"{PROTOCOL}://").rstrip("/") or "/"

    def _asked(self, kind: str, path: str) -> None:
        """One request, which takes its time."""
        begin = time.perf_counter()
        if self.delay_s:
            time.sleep(self.delay_s)
        REQUESTS.add(kind, path, begin, time.perf_counter())

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Lists a folder, a thousand names a request."""
        path = self._strip_protocol(path)
        found = []
        if Path(path).is_file():
            found = [self._entry(path, Path(path).stat().st_size, "file")]
        elif Path(path).is_dir():
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir():
                        found.append(self._entry(entry.path, 0, "directory"))
                    else:
                        found.append(self._entry(entry.path, entry.stat().st_size, "file"))
        for _ in range(max(1, -(-len(found) // LISTED))):
            self._asked("list", path)
        if not Path(path).exists():
            raise FileNotFoundError(path)
        return found if detail else sorted(one["name"] for one in found)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """What is known of one object, or of a folder."""
        path = self._strip_protocol(path)
        self._asked("info", path)
        if Path(path).is_dir():
            return self._entry(path, 0, "directory")
        return self._entry(path, Path(path).stat().st_size, "file")

    def modified(self, path: str) -> datetime.datetime:
        """When an object was last written."""
        self.info(path)
        seconds = Path(self._strip_protocol(path)).stat().st_mtime
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)

    def _entry(self, path: str, size: int, kind: str) -> dict[str, Any]:
        return {"name": path, "size": size, "type": kind}

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: Any
    ) -> bytes:
        """An object, or a range of it; a negative start is that many bytes before its end."""
        path = self._strip_protocol(path)
        self._asked("read", path)
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = max(0, size + start) if start is not None and start < 0 else start or 0
            last = size if end is None else max(0, size + end) if end < 0 else min(end, size)
            file.seek(first)
            data = file.read(max(0, last - first))
        REQUESTS.bytes += len(data)
        return data

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            raise NotImplementedError(f"mode {mode!r}")
        options.pop("block_size", None)
        return _File(self, path, mode, **options)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Writes an object whole; with the mode `create` only if there is none of the name."""
        path = self._strip_protocol(path)
        self._asked("write", path)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{tokenize(threading.get_ident(), time.time())}")
        part.write_bytes(value)
        try:
            if mode == "create":
                os.link(part, target)
            else:
                part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **options: Any) -> None:
        """Writes an object from a local file."""
        self.pipe_file(rpath, Path(lpath).read_bytes(), mode)

    def rm_file(self, path: str) -> None:
        """Removes an object."""
        path = self._strip_protocol(path)
        self._asked("write", path)
        Path(path).unlink()


class _File(AbstractBufferedFile):
    """A file that is read by ranges."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start, end))


def throttled(folder: Path | str, delay_s: float = 0.0) -> tuple[str, dict[str, Any]]:
    """The URI and the storage options of a local folder as a throttled store.

    Args:
        folder: Its absolute path.
        delay_s: How long each request takes, in seconds.
    """
    fsspec.register_implementation(PROTOCOL, ThrottledFileSystem, clobber=True)
    return f"{PROTOCOL}://{folder}", {"delay_s": delay_s}


@contextlib.contextmanager
def counted() -> Iterator[Requests]:
    """Counts the requests that are made inside, from none on."""
    REQUESTS.clear()
    yield REQUESTS
