"""Fetches the images of a claim from their source, row by row; a row without an image has a reason.

What is learnt only now (captions beside the images, fields of JSON sidecars) comes with the row as
columns.
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
    """All rows of a claim, in order.

    Args:
        claim: The claim.
        storage_options: Passed to fsspec for the source.
        folder: A folder for temporary files: empty, or what a killed download left.
        workers: How many workers ask hosts at once, and so share their limits.
        blocked: What is refused: such a URL or host is not asked, such a file not kept.

    Raises:
        CorpusError: The source as a whole, or a whole tar of it, is gone or is another one now.
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
        # What was learnt of a refused picture is not kept either.
        yield refused_picture(fetched, blocked) or _kept(fetched, most, retryable)


def _fetched(
    claim: Claim,
    storage_options: dict[str, Any],
    folder: Path,
    workers: int,
    rows: list[dict[str, Any]],
    blocked: BlockList,
) -> Iterator[Fetched]:
    """The outcomes of those rows of a claim that the source is asked for, in order."""
    said = claim.origin.settings
    if claim.origin.kind == "urls":
        settings = dict(said)
        if workers > 1:
            settings[SHARE] = _shares(rows, workers)
        if blocked:
            settings[BLOCKED] = blocked
        return _from_urls(rows, settings, folder)
    root = reopen(claim.origin.root, storage_options)
    if claim.origin.kind == "embedded":
        return from_tables(root, rows, said.get("picture_column"))
    read = _from_folder if claim.origin.kind == "folder" else _from_tars
    return read(root, rows, int(said["max_bytes"]), said.get("caption_encoding"))


def _shares(rows: list[dict[str, Any]], workers: int) -> dict[str, int]:
    """How many workers ask each registered domain at once, at most: as many as have shards of it.

    A claim that does not tell counts all of them.
    """
    shares = {}
    for row in rows:
        if (host := host_in(row["url"])) is not None:
            shares[registered_domain(host)] = min(workers, row.get(DOMAIN_SHARDS) or workers)
    return shares


def _kept(fetched: Fetched, most: int, retryable: bool) -> Fetched:
    """An image that is too large, or has no byte at all, is not kept."""
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
    """Images of URLs; a row of the list that could not be read has no URL to ask."""
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
    """Images of a folder; a file that is gone is its row's failure."""
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
    """A file's bytes, given its path below the root."""
    name = path.decode("utf-8", "surrogateescape")
    if top is None:
        return root.read(name)
    file = top / name
    # It was inside when it was listed; whoever can write there may have changed the link since.
    if not file.resolve().is_relative_to(top):
        raise FileNotFoundError(f"{file} is a link that leads out of the folder now")
    return file.read_bytes()


def beside(
    root: Store, row: Mapping[str, Any], top: Path | None, encoding: str | None
) -> dict[str, Any]:
    """The columns of the sidecars of a folder's picture.

    Args:
        root: The folder.
        row: Its claim's row: `path`, and the sidecars' paths and sizes.
        top: The folder's own path, if it is local.
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
    if row.get(CAPTION) is not None:  # the captions table's outweighs the JSON's
        columns = {n: v for n, v in columns.items() if n not in (CAPTION, CAPTIONS)}
    return columns


def _sidecar(root: Store, path: bytes, size: int, top: Path | None) -> bytes | None:
    """A sidecar's bytes; None if it went away since it was listed (the picture still counts)."""
    if size > MOST_JSON:
        return bytes(MOST_JSON + 1)  # too large to be read: told by its size alone
    try:
        return read_file(root, path, top)
    except OSError:
        return None


def _from_tars(
    root: Store, rows: list[dict[str, Any]], most: int, encoding: str | None
) -> Iterator[Fetched]:
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


def tar_columns(tar: IO[bytes], row: dict[str, Any], encoding: str | None) -> dict[str, Any]:
    """The columns of the sidecars; a caption of its own outweighs that of the JSON."""
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
