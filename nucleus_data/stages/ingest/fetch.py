"""Fetches the images of a claim from their source, row by row; a row without an image has a reason.

What is learnt only now (captions beside the images, fields of JSON sidecars) comes with the row as
columns.
"""

import errno
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.stages.ingest.claims import Claim
from nucleus_data.stages.ingest.http.download import download
from nucleus_data.stages.ingest.listing.folder import SIDECAR
from nucleus_data.stages.ingest.listing.locate import reopen
from nucleus_data.stages.ingest.listing.spool import LOCATION, PREFIX
from nucleus_data.stages.ingest.sidecars import MOST_BYTES, Found, read_sidecars

MAX_SIDECAR = 4 << 20
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True)
class Fetched:
    """One row's outcome: the image's bytes, or a reason code; and columns learnt on the way.

    `unread` counts, by reason code, what beside the image could not be read or was left out.
    """

    data: bytes | None
    error: str | None = None
    detail: str | None = None
    retryable: bool = False
    columns: dict[str, Any] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)


def fetch(claim: Claim, storage_options: dict[str, Any], folder: Path) -> Iterator[Fetched]:
    """All rows of a claim, in order.

    Args:
        claim: The claim.
        storage_options: Passed to fsspec for the source.
        folder: An empty folder for temporary files.

    Raises:
        CorpusError: The source as a whole, or a whole tar of it, is gone or is another one now.
    """
    most = int(claim.origin.settings["max_bytes"])
    known = [*LOCATION.names]
    captioned = PREFIX + "caption" in claim.rows.column_names
    rows = claim.rows.select([*known, *([PREFIX + "caption"] if captioned else [])]).to_pylist()
    if claim.origin.kind == "urls":
        outcomes = download([row["url"] for row in rows], dict(claim.origin.settings), folder)
        for outcome in outcomes:
            yield _kept(
                Fetched(outcome.data, outcome.reason, outcome.detail, outcome.retryable), most, True
            )
        return
    root = reopen(claim.origin.root, storage_options)
    read = _from_folder if claim.origin.kind == "folder" else _from_tars
    for fetched in read(root, rows, most):
        yield _kept(fetched, most, False)


def _kept(fetched: Fetched, most: int, retryable: bool) -> Fetched:
    """An image that is too large, or has no byte at all, is not kept."""
    if fetched.data is None or 0 < len(fetched.data) <= most:
        return fetched
    if not fetched.data:
        empty = Fetched(None, "empty_file", "0 bytes", retryable, fetched.columns)
        return replace(empty, unread=fetched.unread)
    return replace(_too_large(len(fetched.data), most, fetched.columns), unread=fetched.unread)


def _too_large(size: int, most: int, columns: dict[str, Any]) -> Fetched:
    return Fetched(None, "too_large", f"{size} bytes; ingest.max_bytes is {most}", False, columns)


def _from_folder(root: Store, rows: list[dict[str, Any]], most: int) -> Iterator[Fetched]:
    """Images of a folder; a file that is gone is its row's failure."""
    top = Path(root.root or "/").resolve() if root.local else None
    for row in rows:
        columns: dict[str, Any] = {}
        if row["caption_size"] is not None and row.get(PREFIX + "caption") is None:
            columns = _caption(_sidecar(root, row["path"]))
        if row["size"] > most:
            yield _too_large(row["size"], most, columns)
            continue
        try:
            data = _read(root, row["path"], top)
        except FileNotFoundError as error:
            yield Fetched(None, "missing_file", str(error), False, columns)
        except OSError as error:
            reason = "missing_file" if error.errno in GONE else "unreadable"
            yield Fetched(None, reason, str(error), reason == "unreadable", columns)
        else:
            yield Fetched(data, columns=columns)


def _read(root: Store, path: bytes, top: Path | None) -> bytes:
    """A file's bytes, given its path below the root."""
    name = path.decode("utf-8", "surrogateescape")
    if top is None:
        return root.read(name)
    file = top / name
    # It was inside when it was listed; whoever can write there may have changed the link since.
    if not file.resolve().is_relative_to(top):
        raise FileNotFoundError(f"{file} is a link that leads out of the folder now")
    return file.read_bytes()


def _sidecar(root: Store, image: bytes) -> bytes:
    path = image.rpartition(b".")[0] + SIDECAR.encode()
    try:
        return _read(root, path, Path(root.root or "/").resolve() if root.local else None)
    except OSError:
        return b""  # it went away since it was listed: no caption, the picture still counts


def _from_tars(root: Store, rows: list[dict[str, Any]], most: int) -> Iterator[Fetched]:
    """Images of tars, one tar open at a time; a tar that is gone fails the shard."""
    with ExitStack() as stack:
        opened: tuple[bytes, IO[bytes]] | None = None
        for row in rows:
            if row["error"] is not None:
                yield Fetched(None, row["error"], row["detail"], bool(row["retryable"]))
                continue
            if opened is None or opened[0] != row["path"]:
                stack.pop_all().close()
                opened = row["path"], stack.enter_context(_open_tar(root, row["path"]))
            tar = opened[1]
            found = _beside(tar, row)
            if row["size"] > most:
                fetched = _too_large(row["size"], most, found.columns)
            else:
                data = _slice(tar, row["offset"], row["size"])
                fetched = Fetched(data, columns=found.columns)
            yield replace(fetched, unread=found.unread)


def _open_tar(root: Store, path: bytes) -> IO[bytes]:
    """Opens a tar below the root. Raises CorpusError if it is gone."""
    name = path.decode("utf-8", "surrogateescape")
    try:
        file: IO[bytes] = root.fs.open(root.path(name), "rb")
        return file
    except FileNotFoundError:
        raise CorpusError(
            f"{root.uri}/{name} is gone, though image shards were planned from it; put it back and "
            "run the same command again"
        ) from None


def _slice(tar: IO[bytes], offset: int, size: int) -> bytes:
    """Some bytes of a tar. Raises CorpusError if it is shorter now."""
    tar.seek(offset)
    data = tar.read(size)
    if len(data) != size:
        raise CorpusError(
            f"{getattr(tar, 'name', 'a tar')} is shorter than when it was listed; put the original "
            "back and run the same command again"
        )
    return data


def _beside(tar: IO[bytes], row: dict[str, Any]) -> Found:
    """What a picture's caption and JSON files say."""
    contents: list[bytes | None] = []
    too_large = 0
    for kind in ("caption", "json"):
        size = row[f"{kind}_size"]
        fits = size is not None and size <= MOST_BYTES
        too_large += size is not None and not fits
        contents.append(_slice(tar, row[f"{kind}_offset"], size) if fits else None)
    found = read_sidecars(*contents)
    if too_large:
        found.unread["sidecar_too_large"] += too_large
    return found


def _caption(data: bytes) -> dict[str, Any]:
    return _caption_text(data[:MAX_SIDECAR].decode("utf-8-sig", "replace"))


def _caption_text(value: Any) -> dict[str, Any]:
    text = value.strip() if isinstance(value, str) else ""
    return {PREFIX + "caption": text or None}
