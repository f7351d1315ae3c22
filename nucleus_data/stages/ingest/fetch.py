"""Fetches the images of a claim from their source, row by row.

A row without an image gets a reason code. Captions and JSON fields found beside the images are
returned as columns of the row.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from nucleus_data.corpus.blocked import NOTHING, BlockList
from nucleus_data.corpus.store import Store
from nucleus_data.domains import registered_domain
from nucleus_data.errors import CorpusError
from nucleus_data.stages.ingest.claims import Claim
from nucleus_data.stages.ingest.fetched import Fetched
from nucleus_data.stages.ingest.from_tables import from_tables
from nucleus_data.stages.ingest.http.addresses import host_in
from nucleus_data.stages.ingest.http.downloader import BLOCKED, SHARE, download
from nucleus_data.stages.ingest.listing.formats import stem
from nucleus_data.stages.ingest.listing.locate import reopen
from nucleus_data.stages.ingest.listing.spool import LOCATION, PREFIX, SIDECARS
from nucleus_data.stages.ingest.refused import URL_COLUMN, refused_before, refused_picture
from nucleus_data.stages.ingest.sidecars import (
    CAPTION,
    CAPTION_ERROR,
    CAPTIONS,
    MISSING,
    MOST_JSON,
    caption_columns,
    json_columns,
    merged,
)
from nucleus_data.stages.ingest.spread import COLUMN as DOMAIN_SHARDS
from nucleus_data.stages.ingest.texts import MOST_BYTES

SIDECAR = b".txt"
FINAL_URL = PREFIX + "final_url"  # where redirects led to another URL
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


def fetch(
    claim: Claim,
    storage_options: dict[str, Any],
    folder: Path,
    workers: int = 1,
    blocked: BlockList = NOTHING,
) -> Iterator[Fetched]:
    """Yields the outcome of each row of a claim, in order.

    Args:
        claim: The claim.
        storage_options: Options for fsspec, for the source.
        folder: Folder for temporary files; may hold what a killed download left.
        workers: Number of workers that download at once, and share the limits of hosts.
        blocked: The block list: its URLs and hosts are not requested, its files are not kept.

    Raises:
        CorpusError: The source, or a tar or table of it, is gone or was replaced.
    """
    most = int(claim.origin.settings["max_bytes"])
    known = ["id", *LOCATION.names, *SIDECARS, CAPTION, URL_COLUMN, DOMAIN_SHARDS]
    rows = claim.rows.select([n for n in known if n in claim.rows.column_names]).to_pylist()
    refused = [refused_before(row, blocked) for row in rows]
    asked = [row for row, refusal in zip(rows, refused, strict=True) if refusal is None]
    found = _fetched(claim, storage_options, folder, workers, asked, blocked)
    retryable = claim.origin.kind == "urls"
    for refusal in refused:
        if refusal is not None:
            yield refusal
            continue
        fetched = next(found)
        # For a blocked picture, the columns found beside it are dropped as well.
        yield refused_picture(fetched, blocked) or _kept(fetched, most, retryable)


def _fetched(
    claim: Claim,
    storage_options: dict[str, Any],
    folder: Path,
    workers: int,
    rows: list[dict[str, Any]],
    blocked: BlockList,
) -> Iterator[Fetched]:
    """Returns the outcomes of rows that are not blocked, in order; arguments as in `fetch`."""
    settings = dict(claim.origin.settings)
    if claim.origin.kind == "urls":
        if workers > 1:
            settings[SHARE] = _shares(rows, workers)
        if blocked:
            settings[BLOCKED] = blocked
        return _from_urls(rows, settings, folder)
    root = reopen(claim.origin.root, storage_options)
    if claim.origin.kind == "embedded":
        return from_tables(root, rows, settings.get("picture_column"))
    read = _from_folder if claim.origin.kind == "folder" else _from_tars
    return read(root, rows, int(settings["max_bytes"]), settings.get("caption_encoding"))


def _shares(rows: list[dict[str, Any]], workers: int) -> dict[str, int]:
    """Returns registered domain -> maximum number of workers that request from it at once.

    This is the number of shards with URLs of the domain, or of all workers if that is not known.
    """
    shares = {}
    for row in rows:
        if (host := host_in(row["url"])) is not None:
            shares[registered_domain(host)] = min(workers, row.get(DOMAIN_SHARDS) or workers)
    return shares


def _kept(fetched: Fetched, most: int, retryable: bool) -> Fetched:
    """Replaces an image that is too large or empty by a failure."""
    if fetched.data is None or 0 < len(fetched.data) <= most:
        return fetched
    if not fetched.data:
        return Fetched(None, "empty_file", "0 bytes", retryable, fetched.columns)
    return _too_large(len(fetched.data), most, fetched.columns)


def _too_large(size: int, most: int, columns: dict[str, Any]) -> Fetched:
    return Fetched(None, "too_large", f"{size} bytes; ingest.max_bytes is {most}", False, columns)


def _from_urls(
    rows: list[dict[str, Any]], settings: dict[str, Any], folder: Path
) -> Iterator[Fetched]:
    """Downloads images; rows of the list that could not be read fail with their own reason."""
    urls = [row["url"] for row in rows if row["error"] is None]
    outcomes = download(urls, settings, folder)
    for row in rows:
        if row["error"] is not None:
            yield Fetched(None, row["error"], row["detail"], bool(row["retryable"]))
        else:
            found = next(outcomes)
            columns = {FINAL_URL: found.final_url} if found.final_url is not None else {}
            yield Fetched(found.data, found.reason, found.detail, found.retryable, columns)


def _from_folder(
    root: Store, rows: list[dict[str, Any]], most: int, encoding: str | None
) -> Iterator[Fetched]:
    """Reads images from a folder; if a file is gone, only its row fails."""
    top = Path(root.root or "/").resolve() if root.local else None
    for row in rows:
        columns = beside(root, row, top, encoding)
        if row["size"] > most:
            yield _too_large(row["size"], most, columns)
            continue
        try:
            data = read_file(root, row["path"], top)
        except FileNotFoundError as error:
            yield Fetched(None, "missing_file", str(error), False, columns)
        except OSError as error:
            reason = "missing_file" if error.errno in GONE else "unreadable"
            yield Fetched(None, reason, str(error), reason == "unreadable", columns)
        else:
            yield Fetched(data, columns=columns)


def read_file(root: Store, path: bytes, top: Path | None) -> bytes:
    """Reads a file.

    Args:
        root: The source's folder.
        path: The file's path below it, as bytes.
        top: The resolved path of the folder, if it is local.

    Raises:
        FileNotFoundError: There is no such file, or it is a link that leads out of the folder.
    """
    name = path.decode("utf-8", "surrogateescape")
    if top is None:
        return root.read(name)
    file = top / name
    # Checked again, since the link may have been changed after the folder was listed.
    if not file.resolve().is_relative_to(top):
        raise FileNotFoundError(f"{file} is a link that leads out of the folder now")
    return file.read_bytes()


def beside(
    root: Store, row: Mapping[str, Any], top: Path | None, encoding: str | None
) -> dict[str, Any]:
    """Reads the sidecars of a picture in a folder, and returns their columns.

    Args:
        root: The source's folder.
        row: The claim's row, with `path` and the sidecars' paths and sizes.
        top: The resolved path of the folder, if it is local.
        encoding: `ingest.caption_encoding`.
    """
    columns: dict[str, Any] = {}
    if row["json_size"] is not None:
        data = _sidecar(root, row["json_path"], row["json_size"], top)
        columns = {CAPTION_ERROR: MISSING} if data is None else json_columns(data, encoding)
    if row["caption_size"] is not None and row.get(CAPTION) is None:
        path = row.get("caption_path") or stem(row["path"]) + SIDECAR
        data = _sidecar(root, path, row["caption_size"], top)
        found = {CAPTION_ERROR: MISSING} if data is None else caption_columns(data, encoding)
        columns = merged(columns, found)
    if row.get(CAPTION) is not None:  # a caption from a captions table takes precedence
        columns = {n: v for n, v in columns.items() if n not in (CAPTION, CAPTIONS)}
    return columns


def _sidecar(root: Store, path: bytes, size: int, top: Path | None) -> bytes | None:
    """Reads a sidecar; None if it was removed since it was listed."""
    if size > MOST_JSON:
        return bytes(MOST_JSON + 1)  # not read: this size is enough to be reported as too large
    try:
        return read_file(root, path, top)
    except OSError:
        return None


def _from_tars(
    root: Store, rows: list[dict[str, Any]], most: int, encoding: str | None
) -> Iterator[Fetched]:
    """Reads images from tars, one tar open at a time; if a tar is gone, the shard fails."""
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
            columns = tar_columns(tar, row, encoding)
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
            f"{root.uri}/{name} no longer exists, but image shards were planned from it; restore "
            "it and run the same command again"
        ) from None


def _slice(tar: IO[bytes], offset: int, size: int) -> bytes:
    """Reads bytes of a tar. Raises CorpusError if it is shorter than when it was listed."""
    tar.seek(offset)
    data = tar.read(size)
    if len(data) != size:
        raise CorpusError(
            f"{getattr(tar, 'name', 'a tar')} is shorter than when it was listed; restore the "
            "original and run the same command again"
        )
    return data


def tar_columns(tar: IO[bytes], row: dict[str, Any], encoding: str | None) -> dict[str, Any]:
    """Reads the sidecars of a picture in a tar, and returns their columns.

    A caption file takes precedence over a caption in the JSON file.
    """
    columns: dict[str, Any] = {}
    if row["json_size"] is not None:
        size = min(row["json_size"], MOST_JSON + 1)
        columns = json_columns(_slice(tar, row["json_offset"], size), encoding)
    if row["caption_size"] is not None:
        size = min(row["caption_size"], MOST_BYTES + 1)
        columns = merged(
            columns, caption_columns(_slice(tar, row["caption_offset"], size), encoding)
        )
    return columns
