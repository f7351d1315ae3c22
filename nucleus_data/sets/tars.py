"""Writing a tar as other tools read it, its places noted, hashed as it is written."""

import hashlib
import os
import tarfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

BLOCK = tarfile.BLOCKSIZE
HELD = 4 << 20  # bytes that are hashed and written at once
_CHECKSUM = slice(148, 156)


class TarWriter:
    """A tar of plain files, in ustar format; owner and time are zero, so bytes depend on content.

    Args:
        file: Where it is written.

    Attributes:
        sha256: Of the whole file, once it is closed.
        size: Of the whole file, once it is closed.
    """

    def __init__(self, file: Path) -> None:
        self.sha256 = ""
        self.size = 0
        self._file = file.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self._held: list[bytes] = []
        self._bytes = 0
        # Hashing and writing leave the interpreter free: the next pictures are made meanwhile.
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
            # Two empty blocks end a tar; records of 20 blocks are what tapes had, and tools expect.
            self._put(bytes(2 * BLOCK))
            self._put(bytes(-self.size % tarfile.RECORDSIZE))
            self._hand_on()
            self._wait()
            os.fsync(self._file.fileno())
            self.sha256 = self._hash.hexdigest()
        self._pool.shutdown()
        self._file.close()

    def add(self, name: str, content: bytes) -> int:
        """Adds a file; returns where its bytes begin."""
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
        """Has what is held written, after what was handed on before."""
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
        if hasattr(os, "posix_fadvise"):  # the disk begins with it now, and not at the end
            os.posix_fadvise(self._file.fileno(), start, len(block), os.POSIX_FADV_DONTNEED)


def header(name: str, size: int) -> bytes:
    """The header of a plain file: one block, as `tarfile` writes it in its ustar format.

    Args:
        name: At most 100 characters of ASCII.
        size: Bytes of the file, below 8 GB.
    """
    block = bytearray(_TEMPLATE)
    text = name.encode("ascii")
    if len(text) > tarfile.LENGTH_NAME:
        raise ValueError(f"a name of at most 100 characters is allowed in a tar, got {name!r}")
    block[: len(text)] = text
    digits = b"%011o" % size
    block[124:135] = digits
    # The checksum is of the block with spaces in its own place, as the template has them.
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
