"""Walks a folder of images, and counts by reason the entries that are left out."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.stages.ingest.listing.formats import HEAD

HIDDEN = "hidden files and folders (with a leading dot) were skipped"
OUTSIDE = "symbolic links out of the folder were not followed"
NOWHERE = "symbolic links to folders or to missing files were not followed"
SPECIAL = "sockets, pipes and devices were skipped"
UNREADABLE = "files and folders could not be read"
# Names that fsspec's file systems use for an object's time of modification.
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


@dataclass(frozen=True)
class File:
    """A file below a folder.

    Attributes:
        path: Path relative to the folder, with forward slashes, in the file system's raw bytes.
        size: Size in bytes.
        changed: Time of the last change of its content or location, in seconds since 1970; None if
            the store does not report one.
    """

    path: bytes
    size: int
    changed: float | None


def walk(root: Store, left_out: Counter[str]) -> Iterator[File]:
    """Yields all files below a folder, in no particular order.

    Args:
        root: The folder.
        left_out: Reason (such as `HIDDEN`) -> number of entries left out; updated on the way.
    """
    if root.local:
        yield from _local(os.fsencode(Path(root.root or "/").resolve()), left_out)
        return
    pending = [""]
    while pending:
        folder = pending.pop()
        entries: list[dict[str, Any]] = with_retries(
            lambda at=folder: root.fs.ls(root.path(at), detail=True)  # type: ignore[misc]
        )
        for entry in entries:
            name = entry["name"].rstrip("/").rsplit("/", 1)[-1]
            path = f"{folder}/{name}" if folder else name
            if not name or entry["name"].rstrip("/") == root.path(folder):
                continue
            if name.startswith("."):
                left_out[HIDDEN] += 1
            elif entry["type"] == "directory":
                pending.append(path)
            else:
                size = int(entry.get("size") or 0)
                yield File(path.encode("utf-8", "surrogateescape"), size, told_time(entry))


def single(root: Store, name: str) -> File:
    """Returns the `File` for a name in a folder."""
    path = name.encode("utf-8", "surrogateescape")
    if root.local:
        status = (Path(root.root or "/") / name).stat()
        return File(path, status.st_size, changed_at(status))
    entry = with_retries(lambda: root.fs.info(root.path(name)))
    return File(path, int(entry.get("size") or 0), told_time(entry))


def told_time(entry: Mapping[str, Any]) -> float | None:
    """Returns an object's time of modification from its fsspec entry, in seconds since 1970.

    Returns:
        None if the entry has no such time.
    """
    for name in _TIMES:
        value = entry.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None


def changed_at(status: os.stat_result) -> float:
    """Returns the time of the last change of a file's content or inode, in seconds since 1970.

    A copy may keep its original's modification time, but nobody can set the time of the inode.
    """
    return max(status.st_mtime, status.st_ctime)


def heads(root: Store, files: Sequence[File]) -> Iterator[bytes | None]:
    """Yields the first `HEAD` bytes of files, in their order; None for one that can't be read.

    Args:
        root: The folder.
        files: Files that `walk` yielded for it. An object store receives one concurrent request
            for all of them.
    """
    if root.local:
        top = os.fsencode(Path(root.root or "/").resolve())
        for file in files:
            try:
                with open(os.path.join(top, file.path), "rb") as opened:  # noqa: PTH118, PTH123 - bytes
                    yield opened.read(HEAD)
            except OSError:
                yield None
        return
    # Object stores reject a range request for an empty object.
    full = [file for file in files if file.size]
    paths = [root.path(file.path.decode("utf-8", "surrogateescape")) for file in full]
    ends = [min(HEAD, file.size) for file in full]
    found = iter(root.fs.cat_ranges(paths, [0] * len(paths), ends, on_error="return"))
    for file in files:
        head = next(found) if file.size else b""
        yield head if isinstance(head, bytes) else _retried_head(root, file)


def _retried_head(root: Store, file: File) -> bytes | None:
    """Reads, with retries, the head of an object for which the common request failed."""
    path = root.path(file.path.decode("utf-8", "surrogateescape"))
    try:
        head: bytes = with_retries(lambda: root.fs.cat_file(path, 0, min(HEAD, file.size)))
    except OSError:
        return None
    return head


def _local(top: bytes, left_out: Counter[str]) -> Iterator[File]:
    # Without recursion, as folders may be nested more deeply than Python's stack allows.
    pending = [b""]
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(top + b"/" + prefix) as entries:
                listed = list(entries)
        except OSError:
            if not prefix:
                raise
            left_out[UNREADABLE] += 1
            continue
        for entry in listed:
            path = prefix + entry.name
            if entry.name.startswith(b"."):
                left_out[HIDDEN] += 1
            elif entry.is_dir(follow_symlinks=False):
                pending.append(path + b"/")
            elif (reason := _refused(entry, top)) is not None:
                left_out[reason] += 1
            else:
                try:
                    status = entry.stat()
                except OSError:
                    left_out[UNREADABLE] += 1
                else:
                    yield File(path, status.st_size, changed_at(status))


def _refused(entry: os.DirEntry[bytes], top: bytes) -> str | None:
    """Returns the reason for not reading an entry that is not a folder; None if it is read."""
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not target.startswith(top.rstrip(b"/") + b"/"):
            return OUTSIDE
        if not os.path.isfile(target):  # noqa: PTH113 - bytes
            return NOWHERE
        return None
    return None if entry.is_file() else SPECIAL
