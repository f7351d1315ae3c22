"""Lists the output of img2dataset in webdataset format: 00000.tar beside 00000.parquet.

The Parquet file has a row for every URL, including failed downloads. Each row becomes a record,
with its image or with a failure reason that is derived from img2dataset's error message. All
columns are kept as `source.NAME`. img2dataset's SHA-256 is not verified, so it is never used as
the corpus's own.

A tar without its Parquet file (from a download that was killed) is listed as a plain tar.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sql import identifier, literal
from nucleus_data.stages.ingest.listing.formats import extension
from nucleus_data.stages.ingest.listing.held_times import held_copy, lost_notes
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.pairing import printable
from nucleus_data.stages.ingest.listing.spool import LOCATION, Listing, Spool
from nucleus_data.stages.ingest.listing.sql import (
    caption_column,
    described,
    of_files,
    upstream_columns,
)
from nucleus_data.stages.ingest.listing.tar_walk import Member, TarWalk
from nucleus_data.stages.ingest.listing.tars import (
    TRUNCATED,
    Leftover,
    is_picture,
    tar_label,
    tar_rows,
)
from nucleus_data.stages.ingest.listing.unread import reason
from nucleus_data.stages.ingest.reasons import download_reason, is_retryable

NEEDED = ("key", "status")
SUCCESS = "success"


def list_img2dataset(
    location: Location, folder: Path, connection: duckdb.DuckDBPyConnection, limit: int | None
) -> Listing:
    """Lists every row of every shard, in the order of the shards and of their keys.

    Args:
        location: The tars; the Parquet file of each is beside it.
        folder: For temporary files.
        connection: DuckDB.
        limit: Maximum number of rows, which only a tar without a Parquet file may exceed; None for
            no limit.

    Raises:
        RequestError: A Parquet file cannot be read or lacks `key` or `status`, or there is no row.
    """
    leftover = Leftover()
    skipped = leftover.skipped
    notes: list[str] = []
    count, queries = 0, []
    for number, name in enumerate(location.files):
        left = None if limit is None else limit - count
        if left is not None and left <= 0:
            break
        table = tar_label(name) + ".parquet"
        if not location.root.exists(table):
            stem = f"shard-{number:06d}"
            query, found = tar_rows(location.root, [name], folder, stem, connection, left, leftover)
            queries.append((name, query))
            count += found
        else:
            spool = Spool(folder / f"shard-{number:06d}.parquet", LOCATION)
            upstream = folder / f"upstream-{number:06d}.parquet"
            upstream.write_bytes(location.root.read(table))
            with spool:
                spool.add_all(_shard_rows(location.root, name, upstream, skipped), left)
            held = folder / f"held-{number:06d}.parquet"
            if (lost := held_copy(Store(str(upstream)), "", held)) is not None:
                upstream = held
                notes += [f"{table}: {note}" for note in lost_notes(lost)]
            queries.append((table, _joined(spool.path, upstream, name, notes, connection)))
            count += spool.count
    if not count:
        raise RequestError(f"ingest.source={location.uri!r}: the output of img2dataset has no rows")
    parts = []
    # Shards are written one by one, so that no query joins all of them.
    for number, (name, query) in enumerate(queries):
        part = folder / f"listed-{number:06d}.parquet"
        try:
            connection.execute(f"COPY ({query}) TO {literal(str(part))} (FORMAT parquet)")
        except duckdb.Error as error:  # DuckDB's message would name a temporary file
            raise RequestError(f"{name} cannot be read: {reason(error)}") from error
        parts.append(part)
    return Listing(
        of_files(connection, parts), skipped=dict(skipped), notes=[*notes, *leftover.notes()]
    )


def _joined(
    spool: Path,
    upstream: Path,
    name: str,
    notes: list[str],
    connection: duckdb.DuckDBPyConnection,
) -> str:
    """Returns SQL of a shard's rows joined with the columns of its Parquet file."""
    query = f"SELECT * FROM read_parquet({literal(str(upstream))})"
    kinds = described(connection, query)
    asked = "caption" if "caption" in kinds else None
    caption = asked and caption_column(kinds, asked, tar_label(name) + ".parquet")
    found = upstream_columns(connection, query, special={"caption": caption})
    notes += [f"{tar_label(name)}.parquet: {note}" for note in found.notes()]
    location = ", ".join(f"s.{identifier(column)}" for column in LOCATION.names)
    rows = f"SELECT *, row_number() OVER () AS place FROM read_parquet({literal(str(spool))})"
    # img2dataset's keys are numbers, so the part behind the last slash is the whole key.
    return (
        f"SELECT {location}, u.* EXCLUDE (match) FROM ({rows}) s LEFT JOIN "
        f"(SELECT CAST(key AS VARCHAR) AS match, {found.select} FROM ({query}) "
        "QUALIFY row_number() OVER (PARTITION BY key) = 1) u "
        "ON u.match = split_part(s.key, '/', -1) ORDER BY s.place"
    )


def _shard_rows(
    root: Store, name: str, upstream: Path, skipped: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Yields a shard's rows with the columns of `LOCATION`, sorted by key.

    Images in the tar that the Parquet file does not list follow at the end.
    """
    try:
        schema = pq.read_schema(upstream)
        missing = [column for column in NEEDED if column not in schema.names]
        if missing:
            raise RequestError(
                f"{tar_label(name)}.parquet has no column {', '.join(missing)}; its columns are "
                f"{', '.join(schema.names)}. If img2dataset did not write it, set ingest.kind=tars"
            )
        wanted = [c for c in ("key", "status", "error_message", "url") if c in schema.names]
        rows = pq.read_table(upstream, columns=wanted).sort_by("key").to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise RequestError(f"{tar_label(name)}.parquet cannot be read: {error}") from error
    images, damage = _members(root, name, skipped)
    path = name.encode("utf-8", "surrogateescape")
    for row in rows:
        key = str(row["key"])
        member = images.pop(key, None)
        url = row.get("url")
        yield {
            "key": f"{printable(tar_label(name))}/{key}",
            "path": path,
            "url": url,
            "extension": extension(_url_path(url)) if url else None,
            **_place(member, row, damage),
        }
    # Images that the Parquet file does not list become records as well.
    for key, member in images.items():
        yield {
            "key": f"{printable(tar_label(name))}/{key}",
            "path": path,
            "offset": member.offset,
            "size": member.size,
            "extension": extension(member.name),
        }


def _members(root: Store, name: str, skipped: Counter[str]) -> tuple[dict[str, Member], str | None]:
    """Returns a tar's images by key, and a description of its damage or None.

    The dictionary fits into memory, as a shard of img2dataset has about 10,000 images.
    """
    images: dict[str, Member] = {}
    if not root.exists(name):
        return images, "the tar is missing"
    with root.fs.open(root.path(name), "rb") as file:
        walk = TarWalk(file, root.size(name))
        for member in walk.members():
            if member.problem is not None:
                skipped["(no file)"] += 1
            elif is_picture(walk, member):
                images[member.key] = member
            elif member.suffix not in (".json", ".txt"):
                skipped[member.suffix or "(none)"] += 1
    return images, walk.damage


def _place(member: Member | None, row: dict[str, Any], damage: str | None) -> dict[str, Any]:
    """Returns the columns with the location of a row's image, or the reason for its absence."""
    if member is not None:
        return {"offset": member.offset, "size": member.size}
    if row["status"] == SUCCESS:
        reason = TRUNCATED if damage and damage != "the tar is missing" else "missing_file"
        detail = damage or "the tar has no image of this key"
        return {"error": reason, "detail": detail, "retryable": False}
    message = str(row.get("error_message") or row["status"] or "")
    reason = download_reason(message)
    return {"error": reason, "detail": message, "retryable": is_retryable(reason)}


def _url_path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""
