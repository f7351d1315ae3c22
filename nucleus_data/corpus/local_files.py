"""Reads files of a local store with few system calls, and writes them atomically.

fsspec takes five times as long to open a small file as to read it.
"""

import io
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import psutil

from nucleus_data.corpus.refused import writing


def read_end(path: str, size: int) -> bytes:
    """Returns the last bytes of a file, or all if there are fewer. Raises FileNotFoundError."""
    with io.FileIO(path) as file:
        end = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), size, max(0, end - size))


def read_range(path: str, offset: int, size: int) -> bytes:
    """Returns bytes of a file from an offset, or fewer at its end. Raises FileNotFoundError."""
    with Path(path).open("rb") as file:
        file.seek(offset)
        return file.read(size)


def names(path: str) -> list[str]:
    """Returns the names in a folder, or a file's own name. Raises FileNotFoundError."""
    try:
        return os.listdir(path)  # noqa: PTH208 - a Path for each of a million names takes seconds
    except NotADirectoryError:
        return [Path(path).name]


def link(target: Path, name: str, write: Callable[[Path], None]) -> None:
    """Creates a file atomically: writes a hidden file beside it, and links that to the name.

    Args:
        target: The file.
        name: Its name for messages.
        write: Writes the file to a path, and syncs it to the disk.

    Raises:
        FileExistsError: There is a file of that name.
        DiskFullError: The disk is full.
    """
    part = _hidden(target)
    with writing(target, name):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(part)
            # `rename` would replace what another writer put there; a link fails, as it should.
            os.link(part, target)
        finally:
            part.unlink(missing_ok=True)


def replace(target: Path, name: str, write: Callable[[Path], None]) -> None:
    """Writes or replaces a file atomically; the arguments are those of `link`."""
    part = _hidden(target)
    with writing(target, name):
        target.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        part.replace(target)


def sweep(folder: Path, *, deep: bool = False) -> int:
    """Removes hidden files that dead processes of this machine left in a folder.

    Args:
        folder: The folder.
        deep: Whether to also search all folders below it.

    Returns:
        The number of removed files.
    """
    swept, name = 0, f".*.{socket.gethostname()}.*.part"
    for part in folder.rglob(name) if deep else folder.glob(name):
        pid = part.name.split(".")[-3]
        if not pid.isdigit() or psutil.pid_exists(int(pid)):
            continue
        part.unlink(missing_ok=True)
        swept += 1
    return swept


def write_synced(path: Path, data: bytes) -> None:
    """Writes a file, and syncs it to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def copy_synced(source: Path, path: Path) -> None:
    """Copies a file, and syncs the copy to the disk."""
    with source.open("rb") as reader, path.open("wb") as writer:
        while block := reader.read(1 << 22):
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())


def _hidden(target: Path) -> Path:
    """Returns a hidden name beside the target, with the machine and process id for `sweep`."""
    unique = f"{socket.gethostname()}.{os.getpid()}.{random.getrandbits(32):08x}"
    return target.with_name(f".{target.name}.{unique}.part")
