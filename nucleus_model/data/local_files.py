"""A size-bounded cache of local copies of a store's files.

The least recently used copy is removed first. Several processes may share a folder: copies are
written atomically, and one that another process removed is made again. Each process counts only the
copies that it made, so their limits add up.
"""

import mmap
import os
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path

OPEN = 1024  # maximum number of open memory maps; closing one does not remove the copy


class LocalFiles:
    """A folder of copies, which are memory-mapped on demand.

    Args:
        folder: The folder; created if it does not exist.
        limit: Maximum size of this process's copies, in bytes.

    Attributes:
        bytes: Current size of this process's copies.
        made: Number of copies that it has made.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.bytes = self.made = 0
        self._own: OrderedDict[str, int] = OrderedDict()
        self._open: OrderedDict[str, mmap.mmap] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, make: Callable[[], bytes]) -> memoryview:
        """Returns a copy's bytes, memory-mapped, so that processes share the memory.

        Args:
            name: Path below the folder.
            make: Returns the content, at least one byte, if there is no copy yet.
        """
        mapping = self._seen(name)
        if mapping is not None:
            return memoryview(mapping)
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:  # only one of several threads makes the copy
            mapping = self._seen(name) or self._mapped(name)
            if mapping is None:
                data = make()
                self._write(name, data)
                mapping = self._mapped(name)
                if mapping is None:  # larger than the limit, or removed by another process already
                    return memoryview(data)
            with self._lock:
                self._making.pop(name, None)
                self._open[name] = mapping
                while len(self._open) > OPEN:
                    self._open.popitem(last=False)  # closed once no array of it is left
        return memoryview(mapping)

    def _seen(self, name: str) -> mmap.mmap | None:
        with self._lock:
            mapping = self._open.get(name)
            if mapping is not None:
                self._open.move_to_end(name)
                if name in self._own:
                    self._own.move_to_end(name)
            return mapping

    def has(self, name: str) -> bool:
        """Whether there is a copy."""
        return name in self._open or (self.folder / name).exists()

    def _mapped(self, name: str) -> mmap.mmap | None:
        try:
            with (self.folder / name).open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            return None

    def _write(self, name: str, data: bytes) -> None:
        if len(data) > self.limit:
            return
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.{random.getrandbits(32):08x}")
        part.write_bytes(data)
        part.replace(path)
        with self._lock:
            self.made += 1
            self.bytes += len(data) - self._own.pop(name, 0)
            self._own[name] = len(data)
            while self.bytes > self.limit:
                oldest, size = self._own.popitem(last=False)
                self._open.pop(oldest, None)
                (self.folder / oldest).unlink(missing_ok=True)
                self.bytes -= size

    def trim(self, keep: Collection[str] = ()) -> None:
        """Removes copies of earlier processes, oldest first, until the limit is met.

        Args:
            keep: Names of copies to keep.
        """
        stay = {*self._own, *keep}
        copies = [
            (path.stat().st_mtime, path.stat().st_size, path)
            for path in self.folder.rglob("*")
            if path.is_file() and str(path.relative_to(self.folder)) not in stay
        ]
        over = self.bytes + sum(size for _, size, _ in copies) - self.limit
        for _, size, path in sorted(copies):
            if over <= 0:
                return
            path.unlink(missing_ok=True)
            over -= size
