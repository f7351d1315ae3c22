"""A folder of images: every image file below it, keyed by its relative path.

- An image is a file with one of `formats.IMAGE_EXTENSIONS`; all others are counted by extension.
- Hidden files and folders (a leading dot) are ignored.
- `<stem>.txt` beside an image is its caption, unless the captions table has one for it.
- A symbolic link to a file is read as that file if it stays inside the folder. Links that lead out
  of it, and linked folders (they may form circles), are not followed; a note says how many.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.errors import RequestError
from nucleus_data.stages.ingest.listing.formats import (
    IMAGE_EXTENSIONS,
    counted,
    extension,
    is_image,
)
from nucleus_data.stages.ingest.listing.locate import Location, absolute
from nucleus_data.stages.ingest.listing.spool import LOCATION, Listing, Spool, quoted
from nucleus_data.stages.ingest.listing.sql import (
    CAPTION_COLUMNS,
    chosen_column,
    described,
    found_column,
    list_query,
    named,
    upstream_columns,
)
from nucleus_data.stages.ingest.settings import IngestSettings

FILE_COLUMNS = ("file", "file_name", "filename", "file_path", "path", "image")
SIDECAR = ".txt"


def list_folder(
    location: Location,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
) -> Listing:
    """Lists the images of a folder, in the order of their paths.

    Raises:
        RequestError: There is no image; the message says what there is.
    """
    skipped: Counter[str] = Counter()
    links: Counter[str] = Counter()
    captions = settings.captions and absolute(settings.captions)
    # Names are bytes: a file system's names need not be UTF-8.
    texts_schema = pa.schema([("stem", pa.binary()), ("caption_size", pa.int64())])
    images = Spool(folder / "images.parquet", LOCATION.append(pa.field("stem", pa.binary())))
    texts = Spool(folder / "texts.parquet", texts_schema)
    with images, texts:
        for path, size in _files(location.root, links):
            name = os.fsdecode(path)
            if is_image(name):
                images.add(
                    {
                        "key": path.decode("utf-8", "backslashreplace"),
                        "path": path,
                        "size": size,
                        "extension": extension(name),
                        "stem": path.rpartition(b".")[0],
                    }
                )
            elif name.endswith(SIDECAR):
                texts.add({"stem": path[: -len(SIDECAR)], "caption_size": size})
            elif location.root.path(name) != captions:
                skipped[f".{extension(name)}" if extension(name) else "(none)"] += 1
    notes = [f"{count} {what}" for what, count in sorted(links.items())]
    if not images.count:
        if texts.count:
            skipped[SIDECAR] = texts.count
        raise RequestError(_nothing(location, skipped, notes))
    query = _with_sidecars(images.path, texts.path)
    # A text that belongs to no image is counted as skipped: it may be a caption with a wrong name.
    orphans = connection.execute(
        f"SELECT count(*) FROM read_parquet({quoted(str(texts.path))}) t ANTI JOIN ({query}) i "
        "ON t.stem = i.stem"
    ).fetchone()
    if orphans and orphans[0]:
        skipped[SIDECAR] = orphans[0]
    location_columns = ", ".join(f"i.{named(column)}" for column in LOCATION.names)
    if settings.captions is None:
        query = f"SELECT {location_columns} FROM ({query}) i"
    else:
        query, more = _with_captions(query, location_columns, settings, connection)
        notes += more
    return Listing(query, order="key, path", skipped=dict(skipped), notes=notes)


def _nothing(location: Location, skipped: Counter[str], notes: list[str]) -> str:
    """The message for a folder without images: what it holds, and what counts as an image."""
    if skipped:
        found = f"found {skipped.total()} files with other extensions: {counted(dict(skipped))}"
    else:
        found = "the folder is empty"
    allowed = ", ".join(sorted(IMAGE_EXTENSIONS))
    hint = " (for tars say ingest.source=…/*.tar)" if ".tar" in skipped else ""
    return ". ".join(
        [
            f"ingest.source={location.uri!r}: no images; {found}",
            *notes,
            f"Images are: {allowed}{hint}",
        ]
    )


def _with_sidecars(images: Path, texts: Path) -> str:
    """SQL of the images, each with the size of the text beside it."""
    columns = ", ".join(
        f"i.{named(column)}" for column in LOCATION.names if column != "caption_size"
    )
    return (
        f"SELECT {columns}, t.caption_size, i.stem FROM read_parquet({quoted(str(images))}) i "
        f"LEFT JOIN read_parquet({quoted(str(texts))}) t ON t.stem = i.stem"
    )


def _with_captions(
    query: str,
    location_columns: str,
    settings: IngestSettings,
    connection: duckdb.DuckDBPyConnection,
) -> tuple[str, list[str]]:
    """Joins the captions table to the images by relative path."""
    assert settings.captions is not None
    table = list_query(
        [absolute(settings.captions)], settings.storage_options, connection, "ingest.captions"
    )
    columns = list(described(connection, table))
    where = f"ingest.captions={settings.captions!r}"
    file = chosen_column(columns, settings.file_column, FILE_COLUMNS, where, "file_column")
    caption = found_column(
        columns, settings.caption_column, CAPTION_COLUMNS, where, "caption_column"
    )
    select, binary = upstream_columns(
        connection, table, special={"caption": caption}, leave_out=[file]
    )
    # A file that is named twice takes its first row.
    first = (
        f"SELECT regexp_replace(CAST({named(file)} AS VARCHAR), '^(\\./)+', '') AS file"
        f"{', ' + select if select else ''} FROM ({table}) "
        "QUALIFY row_number() OVER (PARTITION BY file) = 1"
    )
    values = [name for name in described(connection, first) if name != "file"]
    joined = (
        f"SELECT {location_columns}{''.join(f', c.{named(name)}' for name in values)} "
        f"FROM ({query}) i LEFT JOIN ({first}) c ON c.file = i.key"
    )
    counts = connection.execute(
        f"SELECT (SELECT count(*) FROM ({table})), (SELECT count(*) FROM ({first})), "
        f"(SELECT count(*) FROM ({first}) c SEMI JOIN ({query}) i ON c.file = i.key)"
    ).fetchone()
    assert counts is not None
    rows, files, matched = counts
    if not matched:
        raise RequestError(
            f"{where}: none of its {rows} rows names an image of the folder in column {file!r}; "
            "names are paths relative to ingest.source, with forward slashes"
        )
    notes = []
    if rows > files:
        notes.append(
            f"{rows - files} rows of the captions table name a file again (the first counts)"
        )
    if files > matched:
        notes.append(f"{files - matched} rows of the captions table name no image of the folder")
    if binary:
        notes.append(f"binary columns left out: {', '.join(binary)}")
    return joined, notes


def _files(root: Store, links: Counter[str]) -> Iterator[tuple[bytes, int]]:
    """All files below the root, in no order: path relative to it, size in bytes."""
    if root.local:
        top = Path(root.root or "/").resolve()
        yield from _local_files(os.fsencode(top), b"", os.fsencode(top), links)
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
            if not name or name.startswith(".") or entry["name"].rstrip("/") == root.path(folder):
                continue
            if entry["type"] == "directory":
                pending.append(path)
            else:
                yield path.encode("utf-8", "surrogateescape"), int(entry.get("size") or 0)


def _local_files(
    folder: bytes, prefix: bytes, top: bytes, links: Counter[str]
) -> Iterator[tuple[bytes, int]]:
    """The files below a local folder; links that are not followed are counted."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            path = prefix + entry.name
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                if not target.startswith(top.rstrip(b"/") + b"/"):
                    links["symbolic links lead out of the folder and were not followed"] += 1
                    continue
                if not os.path.isfile(target):  # noqa: PTH113 - bytes
                    links["symbolic links to folders or to nothing were not followed"] += 1
                    continue
            if entry.is_dir(follow_symlinks=False):
                yield from _local_files(entry.path, path + b"/", top, links)
            elif entry.is_file():
                yield path, entry.stat().st_size
