"""Writes tars, and returns the offsets of their members; the hash is computed while writing."""

import hashlib
import os
import tarfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

BLOCK = tarfile.BLOCKSIZE
HELD = 4 << 20  # bytes that are buffered before they are hashed and written
_CHECKSUM = slice(148, 156)


class TarWriter:
    """Writes a tar of regular files, in the ustar format.

    Owner and time are zero, so that the bytes depend only on names and contents.

    Args:
        file: The file to write.

    Attributes:
        sha256: SHA-256 of the file; set when it is closed.
        size: Bytes added so far; the size of the file once it is closed.
    """

    def __init__(self, file: Path) -> None:
        self.sha256 = ""
        self.size = 0
        self._file = file.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self._held: list[bytes] = []
        self._bytes = 0
        # Hashing and writing release the GIL, so that the caller makes the next pictures meanwhile.
        self._pool = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> "TarWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is None:
            # A tar ends with two empty blocks. Tools expect its size to be a multiple of 20 blocks,
            # the record size of tapes.
            self._put(bytes(2 * BLOCK))
            self._put(bytes(-self.size % tarfile.RECORDSIZE))
            self._hand_on()
            self._wait()
            os.fsync(self._file.fileno())
            self.sha256 = self._hash.hexdigest()
        self._pool.shutdown()
        self._file.close()

    def add(self, name: str, content: bytes) -> int:
        """Adds a file; returns the offset of its content in the tar, in bytes."""
        self._put(header(name, len(content)))
        offset = self.size
        self._put(content)
        if rest := -len(content) % BLOCK:
            self._put(bytes(rest))
        return offset

    def _put(self, data: bytes) -> None:
        self._held.append(data)
        self._bytes += len(data)
        self.size += len(data)
        if self._bytes >= HELD:
            self._hand_on()

    def _hand_on(self) -> None:
        """Starts writing the buffered bytes, once the previous write has ended."""
        self._wait()
        block, self._held, self._bytes = b"".join(self._held), [], 0
        self._writing = self._pool.submit(self._write, block)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _write(self, block: bytes) -> None:
        self._hash.update(block)
        start, rest = self._file.tell(), memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]
        # Makes the kernel start writing to disk now, and not only at the final fsync.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file.fileno(), start, len(block), os.POSIX_FADV_DONTNEED)


def header(name: str, size: int) -> bytes:
    """Returns the header of a regular file: one block, equal to that of `tarfile` in ustar format.

    Args:
        name: The file's name: ASCII, at most 100 characters.
        size: The file's size in bytes, below 8 GB.

    Raises:
        ValueError: The name is too long.
    """
    block = bytearray(_TEMPLATE)
    text = name.encode("ascii")
    if len(text) > tarfile.LENGTH_NAME:
        raise ValueError(f"a name in a tar has at most 100 characters, got {name!r}")
    block[: len(text)] = text
    digits = b"%011o" % size
    block[124:135] = digits
    # The checksum is computed with spaces in its own place, which the template has.
    block[_CHECKSUM] = b"%06o\0 " % (_SUM + sum(text) + sum(digits))
    return bytes(block)


def _template() -> bytes:
    info = tarfile.TarInfo("x")
    info.mode = 0o644
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[:1] = b"\0"
    block[_CHECKSUM] = b" " * 8
    return bytes(block)


_TEMPLATE = _template()
_SUM = sum(_TEMPLATE) - sum(_TEMPLATE[124:135])
