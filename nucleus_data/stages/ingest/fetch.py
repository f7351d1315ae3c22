"""Fetches the images of a claim from their source, row by row; a row without an image has a reason.

What is learnt only now (captions beside the images, fields of JSON sidecars) comes with the row as
columns.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError
from nucleus_data.stages.ingest.claims import Claim
from nucleus_data.stages.ingest.http.download import download
from nucleus_data.stages.ingest.listing.folder import SIDECAR
from nucleus_data.stages.ingest.listing.locate import reopen
from nucleus_data.stages.ingest.listing.spool import LOCATION, PREFIX

MAX_SIDECAR = 4 << 20
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True)
class Fetched:
    """One row's outcome: the image's bytes, or a reason code; and columns learnt on the way."""

    data: bytes | None
    error: str | None = None
    detail: str | None = None
    retryable: bool = False
    columns: dict[str, Any] = field(default_factory=dict)


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
        return Fetched(None, "empty_file", "0 bytes", retryable, fetched.columns)
    return _too_large(len(fetched.data), most, fetched.columns)


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
            columns = _tar_columns(tar, row)
            if row["size"] > most:
                yield _too_large(row["size"], most, columns)
            else:
                yield Fetched(_slice(tar, row["offset"], row["size"]), columns=columns)


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


def _tar_columns(tar: IO[bytes], row: dict[str, Any]) -> dict[str, Any]:
    """The sidecars' content: flat fields as they are, nested ones as JSON text."""
    columns: dict[str, Any] = {}
    if row["json_size"] is not None and row["json_size"] <= MAX_SIDECAR:
        try:
            content = json.loads(_slice(tar, row["json_offset"], row["json_size"]))
        except ValueError:
            content = None
        if isinstance(content, dict):
            columns = {f"{PREFIX}{key}": _flat(value) for key, value in content.items()}
            columns |= _caption_text(content.get("caption"))
    if row["caption_size"] is not None and row["caption_size"] <= MAX_SIDECAR:
        columns |= _caption(_slice(tar, row["caption_offset"], row["caption_size"]))
    return {name: value for name, value in columns.items() if value is not None}


def _flat(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return str(value)
    return value


def _caption(data: bytes) -> dict[str, Any]:
    return _caption_text(data[:MAX_SIDECAR].decode("utf-8-sig", "replace"))


def _caption_text(value: Any) -> dict[str, Any]:
    text = value.strip() if isinstance(value, str) else ""
    return {PREFIX + "caption": text or None}
