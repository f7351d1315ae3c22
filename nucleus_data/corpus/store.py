"""One path layer for local folders and object stores (fsspec).

Everything stands on one write: `Store.create` makes an object appear whole or not at all, and only
if no object has that name. Locally that is a hard link of a finished hidden file; object stores do
it with a conditional put (fsspec `mode="create"`).
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
        left_out: Names of damaged files that readers of tables go without; see `without`.
        listings: What folders hold, remembered while that is asked for.

    Raises:
        RequestError: it is no address, or fsspec lacks the protocol or its package.
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
        """What another process gets: its listings are its own."""
        return {name: value for name, value in self.__dict__.items() if name != "listings"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The inverse."""
        self.__dict__.update(state, listings=Listings(self._names))

    def path(self, name: str) -> str:
        """The file system's own path of `name`."""
        if name:
            return f"{self.root}/{name}"
        return self.root or ("/" if self.local else "")

    def url(self, name: str) -> str:
        """A path or URL of `name` that other tools understand."""
        return self.path(name) if self.local else self.fs.unstrip_protocol(self.path(name))

    def without(self, names: Iterable[str]) -> "Store":
        """The same store, whose tables are read without some damaged files; for looking alone."""
        other = copy.copy(self)
        other.left_out = self.left_out | frozenset(names)
        other.listings = self.listings
        return other

    def ask(self, call: Callable[[], T]) -> T:
        """Calls what asks the file system, and again where that may help (`with_retries`).

        Raises:
            RequestError: The store's library can't do it at all (no credentials, no such address).
            OSError: As the store says; it names the store.
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
        """The whole object. Raises FileNotFoundError."""
        return self.ask(lambda: self.fs.cat_file(self.path(name)))

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, or fewer at its end. Raises FileNotFoundError."""
        if self.local:
            return local_files.read_range(self.path(name), offset, size)
        return self.ask(lambda: self.fs.cat_file(self.path(name), start=offset, end=offset + size))

    def read_end(self, name: str, size: int) -> bytes:
        """The last `size` bytes, or all if there are fewer. Raises FileNotFoundError."""
        if self.local:
            return self.ask(lambda: local_files.read_end(self.path(name), size))
        return self.ask(lambda: self.fs.cat_file(self.path(name), start=-size))

    def size(self, name: str) -> int:
        """Bytes of the object. Raises FileNotFoundError."""
        self._forget(name)
        return int(self.ask(lambda: self.fs.info(self.path(name)))["size"])

    def exists(self, name: str) -> bool:
        """Whether there is an object of that name."""
        self._forget(name)
        return bool(self.ask(lambda: self.fs.exists(self.path(name))))

    def list(self, folder: str) -> list[str]:
        """Names (not paths) of what lies directly in a folder, sorted, hidden ones left out."""
        return self.listings.names(folder)

    def lacks(self, name: str) -> bool:
        """Whether it is known, from a listing that is remembered, that there is no such object."""
        return self.listings.remembered and self.listings.lacks(*name.rpartition("/")[::2])

    def listing_once(self) -> contextlib.AbstractContextManager[None]:
        """Remembers listings inside; see `Listings.once`."""
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
        """Names below the root of all files below a folder, at any depth, sorted."""
        self._forget(folder)
        found = self.ask(lambda: self.fs.find(self.path(folder)))
        cut = len(self.root) + 1 if self.root or self.local else 0
        return sorted(path[cut:] for path in found)

    def folders(self, folder: str) -> Sequence[str]:
        """Names of the folders that lie in a local folder; an object store has none."""
        if not self.local or not Path(self.path(folder)).is_dir():
            return []
        with os.scandir(self.path(folder)) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())

    def create(self, name: str, data: bytes) -> bool:
        """Writes a new object, whole or not at all.

        Returns:
            False if an object of that name exists with other content; it is left as it is. True if
            the object is now there with this content (also if it was there before: the same bytes
            twice are no conflict).

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
        """Like `create_file`, of a file that is written in place where the store is local.

        Args:
            name: The object.
            write: Writes a local file, which is on the disk when it returns.
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
        """Writes or replaces an object: of `runs/`, where nothing is shared, and in a takedown."""
        self.listings.forget()
        if self.local:
            local_files.replace(self._file(name), name, lambda part: write_synced(part, data))
        else:
            self.ask(lambda: self.fs.pipe_file(self.path(name), data))

    def put_file(self, name: str, file: Path) -> None:
        """Like `put`, from a local file of any size; for a takedown alone."""
        self.listings.forget()
        if self.local:
            local_files.replace(self._file(name), name, lambda part: copy_synced(file, part))
        else:
            self.ask(lambda: self.fs.put_file(str(file), self.path(name)))

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""
        self.listings.forget()
        with contextlib.suppress(FileNotFoundError):
            self.ask(lambda: self.fs.rm_file(self.path(name)))

    def sweep(self, folder: str, *, deep: bool = False) -> int:
        """Removes hidden files that dead processes of this machine left in a local folder.

        Args:
            folder: The folder.
            deep: Also in all folders below it.

        Returns:
            How many.
        """
        place = Path(self.path(folder))
        if not self.local or not place.is_dir():
            return 0
        return local_files.sweep(place, deep=deep)

    def _forget(self, name: str) -> None:
        """Has the file system ask the store again: a listing may be from before other writers."""
        if not self.local:
            self.ask(lambda: self.fs.invalidate_cache(self.path(name)))

    def _file(self, name: str) -> Path:
        return Path(self.path(name))


def with_retries(call: Callable[[], T]) -> T:
    """Calls, and again after growing, jittered delays while a store has errors that may pass."""
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
        # With jitter, so that workers that were refused together do not come back together.
        time.sleep(FIRST_DELAY_S * 2**attempt * (0.5 + random.random()))
    raise AssertionError("unreachable")
