"""An fsspec file system for DuckDB over a corpus's object store, which needs few requests.

Without it, fsspec requests the size and time of each file up to six times, and prefetches megabytes
where DuckDB needs a few kilobytes. As files of a corpus never change, sizes can be cached.
"""

import datetime
import io
from threading import Lock
from typing import Any

from fsspec.spec import AbstractFileSystem

from nucleus_data.corpus.store import Store, with_retries

# Files up to this size are read in one request.
WHOLE = 1 << 20
# Size of the cached end of larger files; more than a footer, which DuckDB reads in several pieces.
TAIL = 64 << 10
SEVERAL = 8  # from this number of requested sizes in a folder on, the folder is listed instead
WRITTEN = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


class DuckFiles(AbstractFileSystem):
    """A read-only view of a store's files, with cached sizes.

    Args:
        store: The corpus's store.
    """

    cachable = False

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.protocol = store.fs.protocol
        self._fs = store.fs
        self._sizes: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._lock = Lock()

    def _strip_protocol(self, path: Any) -> Any:
        return self._fs._strip_protocol(path)

    def unstrip_protocol(self, name: str) -> str:
        """Returns the URL of a path."""
        return str(self._fs.unstrip_protocol(name))

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Lists a folder, and caches the sizes of its files."""
        found = with_retries(lambda: self._fs.ls(path, detail=True, **options))
        self._sizes.update({e["name"]: e["size"] for e in found if e["type"] == "file"})
        return found if detail else [entry["name"] for entry in found]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Returns a file's size and type; the size is cached, or from a listing or a request."""
        path = self._strip_protocol(path)
        if path not in self._sizes:
            self._list_if_many(path.rpartition("/")[0])
        if path not in self._sizes:
            found: dict[str, Any] = with_retries(lambda: self._fs.info(path, **options))
            if found["type"] != "file":
                return found
            self._sizes[path] = found["size"]
        return {"name": path, "size": self._sizes[path], "type": "file"}

    def _list_if_many(self, folder: str) -> None:
        """Lists a folder once the sizes of several of its files were requested."""
        with self._lock:
            self._asked[folder] = self._asked.get(folder, 0) + 1
            if self._asked[folder] == SEVERAL:
                self.ls(folder)

    def modified(self, path: str) -> datetime.datetime:
        """Returns a constant time, as files never change."""
        return WRITTEN

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """Opens a file for reading."""
        if mode != "rb":
            return self._fs.open(path, mode, **options)
        path = self._strip_protocol(path)
        return _File(self._fs, path, self.info(path)["size"])


class _File(io.RawIOBase):
    """A file that requests ranges as they are read, and keeps its end in memory."""

    def __init__(self, fs: AbstractFileSystem, path: str, size: int) -> None:
        super().__init__()
        self._fs, self._path, self.size = fs, path, size
        self._at = 0
        self._kept, self._from = b"", size  # the end of the file, once some of it was read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence] + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self._at + size, self.size)
        if self.size <= WHOLE:
            first = 0
        else:
            first = self.size - TAIL if self._at >= self.size - TAIL else self._at
        if self._at >= self._from:
            data = self._kept[self._at - self._from : end - self._from]
        elif first == self._at and first < self.size - TAIL:
            data = self._fetch(first, end)
        else:
            self._kept, self._from = self._fetch(first, self.size), first
            data = self._kept[self._at - self._from : end - self._from]
        self._at += len(data)
        return data

    def _fetch(self, start: int, end: int) -> bytes:
        return bytes(with_retries(lambda: self._fs.cat_file(self._path, start=start, end=end)))
