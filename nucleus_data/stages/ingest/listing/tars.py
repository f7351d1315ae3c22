"""Lists tars, including webdataset shards, by reading only the members' headers.

Each picture in a tar is a record; `tar_walk` finds the members, `pairing` the caption and the JSON
file of each picture. A record's key is `<name of the tar>/<key in the tar>`. The key in the tar is
webdataset's, which is the name up to the first dot of the base name, or the whole stem if several
pictures share that. A repeated key gets `.1`, `.2`, …. Member names such as `../x` or `/x` are
never used as paths.

A picture that is not a regular file (a link, a sparse file, a damaged size) is a record with the
reason `tar_member`. A truncated or damaged tar yields its readable members, and one additional
record with the reason `tar_truncated`. All other members are counted by extension.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sql import literal
from nucleus_data.stages.ingest.listing.formats import (
    HEAD,
    counted,
    extension,
    hint,
    is_image,
    is_unclear,
    shows_image,
    side_file,
)
from nucleus_data.stages.ingest.listing.locate import Location
from nucleus_data.stages.ingest.listing.pairing import Sample, paired, printable
from nucleus_data.stages.ingest.listing.spool import (
    BATCH,
    LOCATION,
    Listing,
    Spool,
    batches,
)
from nucleus_data.stages.ingest.listing.tar_walk import Member, TarWalk

TRUNCATED = "tar_truncated"
UNREADABLE = "tar_member"
MEMBERS = pa.schema(
    [
        ("tar", pa.int32()),
        ("place", pa.int64()),
        ("run", pa.int64()),
        ("key", pa.string()),
        ("name", pa.binary()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("problem", pa.string()),
    ]
)
PLACED = pa.schema([("tar", pa.int32()), ("place", pa.int64()), *LOCATION])


@dataclass
class Leftover:
    """Members of tars that did not become records, and counts for notes.

    Attributes:
        skipped: Extension -> number of members that are not pictures and belong to none.
        counts: Sentence of a note (`LOST`, `FURTHER`, `SECOND`) -> number of members.
        first: Sentence of a note -> name of the first of these members, as an example.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, name: str) -> None:
        """Counts a member under a note's sentence, and keeps the first name as an example."""
        self.counts[what] += 1
        self.first.setdefault(what, name)

    def notes(self) -> list[str]:
        """Returns the notes for people, with counts and examples."""
        return [f"{n} {what} (the first: {self.first[what]})" for what, n in self.counts.items()]


LOST = "captions or JSON files in tars were ignored: no picture has the same stem"
FURTHER = "captions or JSON files in tars were ignored: their picture has another one"
SECOND = (
    "pictures in tars are further ones of a sample: separate records, without the sample's text"
)


def list_tars(
    location: Location, folder: Path, connection: duckdb.DuckDBPyConnection, limit: int | None
) -> Listing:
    """Lists the pictures of all tars, in the order of the tars' names and of their members.

    Args:
        location: The tars.
        folder: For temporary files.
        connection: DuckDB.
        limit: Number of pictures after which no further tar is read; None for no limit.

    Raises:
        RequestError: There is no image; the message lists the other members by extension.
    """
    leftover = Leftover(Counter(location.others))
    names = location.files
    query, count = tar_rows(location.root, names, folder, "tars", connection, limit, leftover)
    skipped = dict(leftover.skipped)
    if not count:
        found = f"found {counted(skipped)}" if skipped else "they are empty"
        raise RequestError(f"ingest.source={location.uri!r}: no images in the tars; {found}")
    return Listing(query, skipped=skipped, notes=leftover.notes())


def tar_label(name: str) -> str:
    """Returns a tar's name in keys: its path relative to the source's root, without `.tar`."""
    return name[: -len(".tar")] if name.lower().endswith(".tar") else name


def tar_rows(
    root: Store,
    names: list[str],
    folder: Path,
    stem: str,
    connection: duckdb.DuckDBPyConnection,
    limit: int | None,
    leftover: Leftover,
) -> tuple[str, int]:
    """Lists the records of some tars.

    Args:
        root: The folder with the tars.
        names: The tars' names, in order.
        folder: For temporary files.
        stem: Prefix of the temporary files' names.
        connection: DuckDB, for sorting.
        limit: Number of pictures after which no further tar is read; None for no limit. A tar is
            always listed as a whole, since a caption may be its last member.
        leftover: Collects the members that do not become records.

    Returns:
        A SQL query of the rows, with the columns of `LOCATION`, in order; and their number.
    """
    # Rows go through files and DuckDB's sort, so that memory does not grow with their number.
    members = Spool(folder / f"{stem}-members.parquet", MEMBERS)
    rows = Spool(folder / f"{stem}-rows.parquet", PLACED)
    with rows:
        with members:
            pictures = 0
            for tar, name in enumerate(names):
                if limit is not None and pictures + rows.count >= limit:
                    break
                pictures += _spool(root, tar, name, members, rows, leftover)
        ordered = folder / f"{stem}-ordered.parquet"
        connection.execute(
            f"COPY (SELECT * FROM read_parquet({literal(str(members.path))}) "
            f"ORDER BY tar, key, place) TO {literal(str(ordered))} "
            f"(FORMAT parquet, ROW_GROUP_SIZE {BATCH})"
        )
        for (tar, _), group in groupby(_read(ordered), lambda row: (row["tar"], row["key"])):
            rows.add_all(_records(tar, names[tar], group, leftover))
    target = folder / f"{stem}-listed.parquet"
    columns = ", ".join(f'"{name}"' for name in LOCATION.names)
    connection.execute(
        f"COPY (SELECT {columns} FROM read_parquet({literal(str(rows.path))}) "
        f"ORDER BY tar, place) TO {literal(str(target))} (FORMAT parquet)"
    )
    return f"SELECT * FROM read_parquet({literal(str(target))})", rows.count


def _spool(
    root: Store, tar: int, name: str, members: Spool, rows: Spool, leftover: Leftover
) -> int:
    """Spools a tar's pictures and texts, and a row for its damage; returns the picture count."""
    pictures, place, run, last = 0, 0, 0, None
    damage: str | None = None
    with ExitStack() as stack:
        walk = TarWalk(BytesIO(), 0)
        try:
            file = stack.enter_context(root.fs.open(root.path(name), "rb"))
            walk = TarWalk(file, root.size(name))
        except (IsADirectoryError, PermissionError) as error:
            damage = f"the tar cannot be opened: {error.strerror}"
        for place, member in enumerate(walk.members()):
            if member.key != last:
                run, last = run + 1, member.key
            picture = is_picture(walk, member)
            text = side_file(member.name) is not None and member.problem is None
            if _is_hidden(member.name) or not (picture or text):
                leftover.skipped[_kind(member)] += 1
                continue
            pictures += picture
            members.add(
                {
                    "tar": tar,
                    "place": place,
                    "run": run,
                    "key": printable(member.key),
                    "name": member.name.encode("utf-8", "surrogateescape"),
                    "offset": member.offset,
                    "size": member.size,
                    "problem": member.problem,
                }
            )
    damage = damage or walk.damage
    if damage is not None:
        rows.add(
            {
                "tar": tar,
                "place": place + 1,
                "key": f"{printable(tar_label(name))}.tar",
                "path": name.encode("utf-8", "surrogateescape"),
                "error": TRUNCATED,
                "detail": damage,
                "retryable": False,
            }
        )
    return pictures


def is_picture(walk: TarWalk, member: Member) -> bool:
    """Returns whether a member is an image, by its name or, if that is unclear, its first bytes."""
    if is_image(member.name):
        return True
    unclear = is_unclear(member.name) and member.problem is None and not _is_hidden(member.name)
    return unclear and shows_image(walk.head(member, HEAD))


def _is_hidden(name: str) -> bool:
    """Returns whether a member is hidden (a leading dot), such as `._x.jpg`, which macOS writes."""
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def _kind(member: Member) -> str:
    """Returns the key in `Leftover.skipped` of a member that is not a picture."""
    if _is_hidden(member.name):
        return "(hidden)"
    suffix = extension(member.name)
    return "(no file)" if member.problem else f".{suffix}" if suffix else "(none)"


def _read(path: Path) -> Iterator[dict[str, Any]]:
    for batch in batches(path):
        yield from batch.to_pylist()


def _records(
    tar: int, name: str, group: Iterator[dict[str, Any]], leftover: Leftover
) -> Iterator[dict[str, Any]]:
    """Yields the records of a tar's members that share a webdataset key."""
    label = tar_label(name)
    found = paired(
        (
            row["place"],
            row["run"],
            Member(
                row["name"].decode("utf-8", "surrogateescape"),
                row["offset"],
                row["size"],
                row["problem"],
            ),
        )
        for row in group
    )
    for what, members in ((LOST, found.lost), (FURTHER, found.further)):
        for member in members:
            leftover.skipped[f".{extension(member.name)}"] += 1
            leftover.add(what, ascii(f"{label}/{member.name}"))
    for sample in found.seconds:
        leftover.add(SECOND, ascii(f"{label}/{sample.picture.name}"))
    for sample in found.samples:
        yield {"tar": tar, "place": sample.place, **_row(label, name, sample)}


def _row(label: str, name: str, sample: Sample) -> dict[str, Any]:
    """Returns a sample as a row with the columns of `LOCATION`."""
    picture = sample.picture
    row = {
        "key": f"{printable(label)}/{sample.key}",
        "path": name.encode("utf-8", "surrogateescape"),
        "offset": picture.offset,
        "size": picture.size,
        "extension": hint(picture.name),
    }
    if picture.problem is not None:
        row |= {"error": UNREADABLE, "detail": picture.problem, "retryable": False}
    for kind, member in (("caption", sample.caption), ("json", sample.json)):
        if member is not None:
            row |= {f"{kind}_offset": member.offset, f"{kind}_size": member.size}
    return row
