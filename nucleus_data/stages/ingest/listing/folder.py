"""Lists a folder of images: every image file below it, keyed by its relative path.

- An image is a file with one of `formats.IMAGE_EXTENSIONS`, or one with an unknown extension or
  none whose first bytes are those of an image. All other files are counted by extension.
- The captions of an image `x.jpg` are in `x.txt`, `x.caption`, `x.jpg.txt` or `x.jpg.caption`
  beside it, or in the fields of `x.json` or `x.jpg.json`; endings are case-insensitive. If there
  are several, names with the image's own extension take precedence, then `.txt` over `.caption`,
  lower case over upper case, and finally alphabetical order. A captions table (`captions_table`)
  takes precedence over all of them. Images with the same stem share the files named by the stem.
- Hidden files and folders (with a leading dot), links to targets outside of the folder, and links
  to folders (which may form cycles) are not read; a note counts them. A link to a file inside the
  folder is read as a file.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from nucleus_data.errors import RequestError
from nucleus_data.sql import identifier, literal
from nucleus_data.stages.ingest.listing.captions_table import (
    METADATA,
    with_captions,
    with_metadata,
)
from nucleus_data.stages.ingest.listing.formats import (
    CAPTION_ENDINGS,
    IMAGE_EXTENSIONS,
    JSON_ENDING,
    counted,
    extension,
    hint,
    is_image,
    is_unclear,
    shows_image,
    side_file,
    stem,
)
from nucleus_data.stages.ingest.listing.locate import Location, absolute
from nucleus_data.stages.ingest.listing.spool import (
    BESIDE_CHANGED,
    CHANGED,
    LOCATION,
    Listing,
    Spool,
)
from nucleus_data.stages.ingest.listing.sql import row_count
from nucleus_data.stages.ingest.listing.walk import UNREADABLE, File, heads, single, walk
from nucleus_data.stages.ingest.settings import IngestSettings

SIDECARS = (*CAPTION_ENDINGS, JSON_ENDING)
_AT_ONCE = 256  # number of files whose first bytes are requested together
_TEXTS = pa.schema(
    [
        ("path", pa.binary()),
        ("stem", pa.binary()),
        ("size", pa.int64()),
        (CHANGED, pa.float64()),
        ("suffix", pa.string()),
        ("kind", pa.string()),
        ("rank", pa.int8()),
    ]
)
_IMAGES = pa.schema([*LOCATION, pa.field("stem", pa.binary()), pa.field(CHANGED, pa.float64())])


def list_folder(
    location: Location,
    settings: IngestSettings,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
) -> Listing:
    """Lists the images of a folder, in the order of their paths.

    Args:
        location: The folder, or a source that is a single image.
        settings: Settings about captions.
        folder: For temporary files.
        connection: DuckDB.

    Raises:
        RequestError: There is no image; the message lists the other files by extension.
    """
    skipped: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    metadata: list[str] = []
    unclear: list[File] = []
    captions = settings.captions and absolute(settings.captions)
    images = Spool(folder / "images.parquet", _IMAGES)
    texts = Spool(folder / "texts.parquet", _TEXTS)
    with images, texts:
        for file in _files(location, left_out):
            name = file.path.decode("utf-8", "surrogateescape")
            if is_image(name):
                images.add(_image(file, name))
            elif location.root.path(name) == captions:
                continue
            elif captions is None and name.rpartition("/")[2].lower() in METADATA:
                metadata.append(name)
            elif name.lower().endswith(SIDECARS):
                texts.add(_text(file, name))
            elif is_unclear(name):
                unclear.append(file)
                if len(unclear) == _AT_ONCE:
                    _sort_out(location, unclear, images, skipped, left_out)
            else:
                skipped[_suffix(name)] += 1
        _sort_out(location, unclear, images, skipped, left_out)
    notes = [f"{count} {what}" for what, count in sorted(left_out.items())]
    if not images.count:
        skipped.update(_suffix(name) for name in metadata)
        skipped += _endings(f"SELECT * FROM read_parquet({literal(str(texts.path))})", connection)
        raise RequestError(_nothing(location, skipped, notes))
    paired = folder / "paired.parquet"
    more, orphans = _pair(images.path, texts.path, paired, connection)
    skipped += orphans
    query = f"SELECT * FROM read_parquet({literal(str(paired))})"
    if settings.captions is not None:
        query, added = with_captions(query, settings, folder, connection)
        more += added
    elif metadata:
        query, added, others = with_metadata(
            query, metadata, location, settings, folder, connection
        )
        more += added
        skipped.update(_suffix(name) for name in others)
    return Listing(query, order="key, path", skipped=dict(skipped), notes=[*notes, *more])


def _files(location: Location, left_out: Counter[str]) -> Iterator[File]:
    """Yields all files below the folder; for a single image, the image and its side files."""
    if not location.files:
        yield from walk(location.root, left_out)
        return
    (name,) = location.files
    base = stem(name.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    for found in location.root.list(""):
        side = side_file(found)
        if found == name or (side is not None and side[0] in (name, base)):
            yield single(location.root, found)


def _sort_out(
    location: Location,
    unclear: list[File],
    images: Spool,
    skipped: Counter[str],
    left_out: Counter[str],
) -> None:
    """Classifies the files with unclear names by their first bytes, and clears `unclear`."""
    for file, head in zip(unclear, heads(location.root, unclear), strict=True):
        name = file.path.decode("utf-8", "surrogateescape")
        if head is None:
            left_out[UNREADABLE] += 1
        elif shows_image(head):
            images.add(_image(file, name))
        else:
            skipped[_suffix(name)] += 1
    unclear.clear()


def _image(file: File, name: str) -> dict[str, object]:
    return {
        # Paths are kept as bytes, since a file system's names need not be UTF-8.
        "key": file.path.decode("utf-8", "backslashreplace"),
        "path": file.path,
        "size": file.size,
        "extension": hint(name),
        "stem": stem(file.path),
        CHANGED: file.changed,
    }


def _text(file: File, name: str) -> dict[str, object]:
    suffix = "." + name.rpartition(".")[2]
    return {
        "path": file.path,
        "stem": file.path.rpartition(b".")[0],
        "size": file.size,
        CHANGED: file.changed,
        "suffix": suffix.lower(),
        "kind": "json" if suffix.lower() == ".json" else "caption",
        "rank": 2 * SIDECARS.index(suffix.lower()) + (suffix != suffix.lower()),
    }


def _suffix(name: str) -> str:
    return f".{extension(name)}" if extension(name) else "(none)"


def _pair(
    images: Path, texts: Path, target: Path, connection: duckdb.DuckDBPyConnection
) -> tuple[list[str], Counter[str]]:
    """Joins captions and JSON files to images, and writes the result to `target`.

    Returns:
        Notes, and the number of files that belong to no image, by ending.
    """
    image, text = (f"read_parquet({literal(str(path))})" for path in (images, texts))
    matches = target.with_name("matches.parquet")
    connection.execute(
        "COPY (SELECT *, row_number() OVER (PARTITION BY image, kind ORDER BY far, rank, path) "
        "AS place FROM ("
        f"SELECT i.path AS image, 0 AS far, t.* FROM {image} i JOIN {text} t ON t.stem = i.path "
        "UNION ALL "
        f"SELECT i.path AS image, 1 AS far, t.* FROM {image} i JOIN {text} t ON t.stem = i.stem"
        f")) TO {literal(str(matches))} (FORMAT parquet)"
    )
    match = f"read_parquet({literal(str(matches))})"
    paths = {"caption_path": "nullif(c.path, i.stem || '.txt'::BLOB)", "json_path": "j.path"}
    ours = {"caption_size": "c.size", "json_size": "j.size"}
    names = ", ".join(
        f"{ours.get(n, 'i.' + identifier(n))} AS {identifier(n)}" for n in LOCATION.names
    )
    beside = ", ".join(f"{sql} AS {name}" for name, sql in paths.items())
    query = (
        f"SELECT {names}, {beside}, i.{CHANGED}, greatest(c.{CHANGED}, j.{CHANGED}) AS "
        f"{BESIDE_CHANGED} FROM {image} i "
        f"LEFT JOIN {match} c ON c.image = i.path AND c.kind = 'caption' AND c.place = 1 "
        f"LEFT JOIN {match} j ON j.image = i.path AND j.kind = 'json' AND j.place = 1"
    )
    # A folder whose captions are all `<stem>.txt` needs no paths in its claims.
    odd = connection.execute(f"SELECT 1 FROM ({query}) WHERE coalesce({', '.join(paths)}) NOTNULL")
    if odd.fetchone() is None:
        query = f"SELECT * EXCLUDE ({', '.join(paths)}) FROM ({query})"
    connection.execute(f"COPY ({query}) TO {literal(str(target))} (FORMAT parquet)")
    orphans = _endings(f"SELECT * FROM {text} t ANTI JOIN {match} m USING (path)", connection)
    spare = row_count(f"(SELECT path FROM {match} GROUP BY path HAVING min(place) > 1)", connection)
    notes = []
    if orphans:
        notes.append(
            f"of these, {orphans.total()} caption files belong to no picture: {counted(orphans)}"
        )
    if spare:
        notes.append(f"{spare} caption files were ignored: their picture has another one")
    return notes, orphans


def _endings(query: str, connection: duckdb.DuckDBPyConnection) -> Counter[str]:
    """Counts caption and JSON files by their ending."""
    found = connection.execute(f"SELECT suffix, count(*) FROM ({query}) GROUP BY suffix")
    return Counter(dict(found.fetchall()))


def _nothing(location: Location, skipped: Counter[str], notes: list[str]) -> str:
    """Returns the error message for a folder without images."""
    if skipped:
        found = f"found {skipped.total()} files with other extensions: {counted(dict(skipped))}"
    else:
        found = "the folder is empty"
    allowed = ", ".join(sorted(IMAGE_EXTENSIONS))
    tars = " (for tars, set ingest.source=…/*.tar)" if ".tar" in skipped else ""
    return ". ".join(
        [
            f"ingest.source={location.uri!r}: no images; {found}",
            *notes,
            f"Images are: {allowed}, and files without a known extension that begin like an image"
            f"{tars}",
        ]
    )
