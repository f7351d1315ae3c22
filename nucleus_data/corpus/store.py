"""A uniform layer over local folders and object stores (fsspec).

All commits of a corpus are based on `Store.create`: an atomic create-if-absent. Locally, it writes
a hidden file and hard-links it to its name; on object stores, it is a conditional put (fsspec's
`mode="create"`).
"""

import contextlib
import copy
import errno
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fsspec.implementations.local import LocalFileSystem

from nucleus_data.corpus import local_files
from nucleus_data.corpus.addresses import file_system, not_reached
from nucleus_data.corpus.listings import Listings
from nucleus_data.corpus.local_files import copy_synced, write_synced
from nucleus_data.errors import CorpusError, RequestError

T = TypeVar("T")
Names = list[str]  # inside the class, `list` is its method
ATTEMPTS = 5
FIRST_DELAY_S = 0.2
FINAL_ERRNOS = {
    errno.ENOENT,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EINVAL,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}


class Store:
    """A root URI and the objects below it.

    Every path is relative to the root, with forward slashes.

    Args:
        uri: A local path, `file://`, `s3://bucket/prefix`, `gs://…` or any other fsspec URL.
        storage_options: Passed to fsspec (credentials, `endpoint_url`, …).

    Attributes:
        left_out: Names of damaged files that readers of tables skip; see `without`.
        listings: A cache of folder listings, which is off unless requested.

    Raises:
        RequestError: The URI is malformed, or fsspec lacks the protocol or its package.
    """

    left_out: frozenset[str] = frozenset()

    def __init__(self, uri: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.uri = uri.rstrip("/") or "/"
        self.storage_options = dict(storage_options or {})
        self.fs, root = file_system(uri, self.storage_options)
        self.root = root.rstrip("/")
        self.local = isinstance(self.fs, LocalFileSystem)
        self.listings = Listings(self._names)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the listings, of which each process has its own."""
        return {name: value for name, value in self.__dict__.items() if name != "listings"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores the state, with new listings."""
        self.__dict__.update(state, listings=Listings(self._names))

    def path(self, name: str) -> str:
        """Returns the path of an object in its file system."""
        if name:
            return f"{self.root}/{name}"
        return self.root or ("/" if self.local else "")

    def url(self, name: str) -> str:
        """Returns the local path or the URL of an object, for messages and other tools."""
        return self.path(name) if self.local else self.fs.unstrip_protocol(self.path(name))

    def without(self, names: Iterable[str]) -> "Store":
        """Returns the same store with damaged files to skip; only for read-only commands."""
        other = copy.copy(self)
        other.left_out = self.left_out | frozenset(names)
        other.listings = self.listings
        return other

    def ask(self, call: Callable[[], T]) -> T:
        """Calls a function that uses the file system, with retries (`with_retries`).

        Raises:
            RequestError: The store's library failed with another error than an OSError (such as
                missing credentials).
            OSError: The store's error, with its URI.
        """
        try:
            return with_retries(call)
        except OSError as error:
            if not self.local and error.strerror and not error.filename:
                error.filename = self.uri
            raise
        except Exception as error:
            if self.local or isinstance(error, RequestError | CorpusError):
                raise
            raise not_reached(self.uri, error) from error

    def read(self, name: str) -> bytes:
        """Returns the whole object. Raises FileNotFoundError."""
        return self.ask(lambda: self.fs.cat_file(self.path(name)))

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Returns `size` bytes from `offset`, or fewer at the end. Raises FileNotFoundError."""
        if self.local:
            return local_files.read_range(self.path(name), offset, size)
        return self.ask(lambda: self.fs.cat_file(self.path(name), start=offset, end=offset + size))

    def read_end(self, name: str, size: int) -> bytes:
        """Returns the last `size` bytes, or all if there are fewer. Raises FileNotFoundError."""
        if self.local:
            return self.ask(lambda: local_files.read_end(self.path(name), size))
        return self.ask(lambda: self.fs.cat_file(self.path(name), start=-size))

    def size(self, name: str) -> int:
        """Returns the size of an object in bytes. Raises FileNotFoundError."""
        self._forget(name)
        return int(self.ask(lambda: self.fs.info(self.path(name)))["size"])

    def exists(self, name: str) -> bool:
        """Whether there is an object of that name."""
        self._forget(name)
        return bool(self.ask(lambda: self.fs.exists(self.path(name))))

    def list(self, folder: str) -> list[str]:
        """Returns the names (not paths) in a folder, sorted, without hidden ones; empty if none."""
        return self.listings.names(folder)

    def lacks(self, name: str) -> bool:
        """Whether a cached listing shows that there is no such object."""
        return self.listings.remembered and self.listings.lacks(*name.rpartition("/")[::2])

    def listing_once(self) -> contextlib.AbstractContextManager[None]:
        """Caches listings inside the context; see `Listings.once`."""
        return self.listings.once()

    def _names(self, folder: str) -> Names:
        self._forget(folder)
        try:
            if self.local:
                entries = self.ask(lambda: local_files.names(self.path(folder)))
            else:
                entries = self.ask(lambda: self.fs.ls(self.path(folder), detail=False))
        except FileNotFoundError:
            return []
        names = {entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries}
        own = self.path(folder).rsplit("/", 1)[-1]
        if not self.local:
            names.discard(own)  # some stores list the folder's own marker object
        return sorted(name for name in names if name and not name.startswith("."))

    def find(self, folder: str) -> Sequence[str]:
        """Returns the paths, below the root, of all files in a folder at any depth, sorted."""
        self._forget(folder)
        found = self.ask(lambda: self.fs.find(self.path(folder)))
        cut = len(self.root) + 1 if self.root or self.local else 0
        return sorted(path[cut:] for path in found)

    def folders(self, folder: str) -> Sequence[str]:
        """Returns the names of the folders in a local folder; empty for an object store."""
        if not self.local or not Path(self.path(folder)).is_dir():
            return []
        with os.scandir(self.path(folder)) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())

    def create(self, name: str, data: bytes) -> bool:
        """Creates an object atomically, unless one of that name exists.

        Returns:
            Whether the object now has this content. An existing object with the same content is no
            conflict; with other content, it is left as it is, and the result is False.

        Raises:
            DiskFullError: The disk is full.
        """
        self.listings.forget()
        try:
            if self.local:
                local_files.link(self._file(name), name, lambda part: write_synced(part, data))
            else:
                self.ask(lambda: self.fs.pipe_file(self.path(name), data, mode="create"))
        except FileExistsError:
            return self.read(name) == data
        return True

    def create_file(self, name: str, file: Path) -> bool:
        """Like `create`, from a local file of any size; False if an object of that name exists."""
        self.listings.forget()
        try:
            if self.local:
                local_files.link(self._file(name), name, lambda part: copy_synced(file, part))
            else:
                self.ask(lambda: self.fs.put_file(str(file), self.path(name), mode="create"))
        except FileExistsError:
            return False
        return True

    def create_with(self, name: str, write: Callable[[Path], None]) -> bool:
        """Like `create_file`, from a function; saves a copy if the store is local.

        Args:
            name: The object.
            write: Writes a local file and syncs it to the disk.
        """
        self.listings.forget()
        if not self.local:
            with tempfile.TemporaryDirectory(prefix="nucleus-") as folder:
                file = Path(folder) / "object"
                write(file)
                return self.create_file(name, file)
        try:
            local_files.link(self._file(name), name, write)
        except FileExistsError:
            return False
        return True

    def put(self, name: str, data: bytes) -> None:
        """Writes or replaces an object; for `runs/`, where nothing is shared, and for takedowns."""
        self.listings.forget()
        if self.local:
            local_files.replace(self._file(name), name, lambda part: write_synced(part, data))
        else:
            self.ask(lambda: self.fs.pipe_file(self.path(name), data))

    def put_file(self, name: str, file: Path) -> None:
        """Like `put`, from a local file of any size; for takedowns only."""
        self.listings.forget()
        if self.local:
            local_files.replace(self._file(name), name, lambda part: copy_synced(file, part))
        else:
            self.ask(lambda: self.fs.put_file(str(file), self.path(name)))

    def remove(self, name: str) -> None:
        """Removes an object, if it exists."""
        self.listings.forget()
        with contextlib.suppress(FileNotFoundError):
            self.ask(lambda: self.fs.rm_file(self.path(name)))

    def remove_folder(self, folder: str) -> None:
        """Removes a folder and everything in it, if it exists; several may do so at once."""
        self.listings.forget()
        self._forget(folder)
        for _ in range(ATTEMPTS):
            try:
                self.ask(lambda: self.fs.rm(self.path(folder), recursive=True))
            except FileNotFoundError:
                # Another process may have removed a file of it; then the others are still there.
                if not self.exists(folder):
                    return
            else:
                return

    def sweep(self, folder: str, *, deep: bool = False) -> int:
        """Removes hidden files that dead processes of this machine left in a local folder.

        Args:
            folder: The folder.
            deep: Whether to also search all folders below it.

        Returns:
            The number of removed files.
        """
        place = Path(self.path(folder))
        if not self.local or not place.is_dir():
            return 0
        return local_files.sweep(place, deep=deep)

    def _forget(self, name: str) -> None:
        """Clears fsspec's own listing cache, which may miss files of other writers."""
        if not self.local:
            self.ask(lambda: self.fs.invalidate_cache(self.path(name)))

    def _file(self, name: str) -> Path:
        return Path(self.path(name))


def with_retries(call: Callable[[], T]) -> T:
    """Calls a function, and retries transient OSErrors with exponential backoff and jitter."""
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except OSError as error:
            if attempt + 1 == ATTEMPTS or isinstance(
                error, FileNotFoundError | FileExistsError | PermissionError
            ):
                raise
            if error.errno in FINAL_ERRNOS:
                raise
        # Jitter keeps workers that were refused together from retrying together.
        time.sleep(FIRST_DELAY_S * 2**attempt * (0.5 + random.random()))
    raise AssertionError("unreachable")
