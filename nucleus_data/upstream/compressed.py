"""Reads compressed lists, such as `.csv.gz` and `.jsonl.zst`."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from nucleus_data.corpus.store import Store, with_retries

COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
_PIECE = 1 << 20


def uncompressed(name: str) -> str:
    """Returns a file's name without the extension of its compression, if it has one."""
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in COMPRESSED else name


@contextmanager
def plain(store: Store, name: str) -> Iterator[IO[bytes]]:
    """Opens a file for reading its uncompressed bytes.

    Args:
        store: The store with the file.
        name: Name of the file; empty if the store is the file itself.

    Raises:
        OSError: The file can't be read, or is damaged.
    """
    kind = COMPRESSED.get(Path(name or store.uri).suffix.lower())
    with with_retries(lambda: store.fs.open(store.path(name), "rb")) as file:
        if kind is None:
            yield file
            return
        with pa.CompressedInputStream(pa.PythonFile(file, "r"), kind) as stream:
            yield cast(IO[bytes], io.BufferedReader(stream, _PIECE))


def plain_copy(store: Store, name: str, target: Path) -> Path | None:
    """Makes a local, uncompressed copy of a compressed file.

    Args:
        store: The store with the file.
        name: Name of the file; empty if the store is the file itself.
        target: Path of the copy.

    Returns:
        `target`; None, without a copy, if the file is not compressed.

    Raises:
        OSError: The file can't be read, or is damaged.
    """
    if uncompressed(name or store.uri) == (name or store.uri):
        return None
    with plain(store, name) as stream, target.open("wb") as copy:
        while piece := stream.read(_PIECE):
            copy.write(piece)
    return target
