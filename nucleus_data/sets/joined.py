"""Reads a set's samples joined with the captions of an edition and with index columns.

    for sample in read_joined(folder, tar, folder.edition(None)):
        sample.picture, sample.facts["captions"]

Files beside a tar have the tar's order, so they are joined by position. A tar is read in pieces of
some megabytes, at the offsets in its index. Each picture is compared with the SHA-256 in the index:
a damaged one raises an error.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from nucleus_data.corpus.damaged import damaged
from nucleus_data.errors import CorpusError
from nucleus_data.sets.beside import Beside
from nucleus_data.sets.columns import Columns
from nucleus_data.sets.editions import EDITION_SCHEMA, Edition
from nucleus_data.sets.layout import SetFolder, TarEntry
from nucleus_data.sets.provenance import FIELDS

PIECE = 32 << 20  # bytes that are read at once, except for a larger sample
# Ids that are safe as names of members: a set may come from anyone, and its export go to anyone.
ID = re.compile(r"[A-Za-z0-9_-]+")
BLOCK = 512  # bytes of a tar member's header, which precedes its content
IMAGE_COLUMN, TEXT_COLUMN = "image", "text"  # columns of an export as Parquet
TAKEN = {*FIELDS.names, *EDITION_SCHEMA.names, IMAGE_COLUMN, TEXT_COLUMN}
CAPTIONS = [EDITION_SCHEMA.field(name) for name in ("captions", "caption_sources")]


@dataclass(frozen=True, slots=True)
class Joined:
    """A sample with its captions and columns.

    Attributes:
        id: Its key.
        picture: The stored picture, encoded.
        facts: Provenance, captions, sources of captions, and index columns. Every sample has the
            same keys.
    """

    id: str
    picture: bytes
    facts: dict[str, Any]

    @property
    def caption(self) -> str:
        """The best caption; empty if there is none."""
        return str(self.facts["captions"][-1]) if self.facts["captions"] else ""


def joined_schema(folder: SetFolder, columns: Columns | None) -> pa.Schema:
    """Returns the fields of `Joined.facts`, with their types."""
    fields = [_plain(field) for field in FIELDS] + CAPTIONS
    if columns is not None:
        first = next(iter(folder.manifest()), None)
        if first is not None:
            values = columns.values(first.path).schema
            fields += [
                pa.field(column_name(field.name), field.type)
                for field in values
                if field.name != "id"
            ]
    return pa.schema(fields)


def column_name(name: str) -> str:
    """Returns an index column's key among the facts: its name, with a prefix if that is taken."""
    return f"columns.{name}" if name in TAKEN else name


def suffix_of(folder: SetFolder, entry: TarEntry) -> str:
    """Returns the suffix of a tar's pictures, the same in the whole set: `jpg` or `webp`."""
    header = folder.store.read_range(folder.name(entry.path), 0, 100)
    return header.rstrip(b"\0").decode("ascii", "replace").rpartition(".")[2]


def read_index(folder: SetFolder, entry: TarEntry) -> pa.Table:
    """Reads a tar's index, and checks that all ids are safe as file names.

    Raises:
        CorpusError: An id is not.
        DamagedError: The index can't be read.
        FileNotFoundError: There is no index.
    """
    index = folder.index(entry.path)
    for ident in index.column("id").to_pylist():
        if not ident or not ID.fullmatch(ident):
            raise CorpusError(
                f"{folder.url(entry.path)}: the id {ident!r} is not a valid name; allowed: "
                "letters, digits, '-' and '_'"
            )
    return index


def read_beside(
    folder: SetFolder, entry: TarEntry, files: Beside, rows: pa.Table, index: pa.Table
) -> pa.Table:
    """Checks that the rows of a file beside a tar are those of the tar's samples, in order.

    Args:
        folder: The set.
        entry: The tar.
        files: The folder that the file is in, for messages.
        rows: The file's rows.
        index: The tar's index.

    Returns:
        `rows`.

    Raises:
        CorpusError: The rows are of other samples, or in another order.
    """
    if not rows.column("id").equals(index.column("id")):
        raise CorpusError(
            f"{folder.store.url(files.file(entry.path))} does not match the samples of "
            f"{entry.path} and their order; remove the folder {folder.store.url(files.path)} and "
            "make it again: nucleus shard"
        )
    return rows


def read_joined(
    folder: SetFolder, entry: TarEntry, edition: Edition, columns: Columns | None = None
) -> Iterator[Joined]:
    """Yields the samples of a tar, in the tar's order.

    Args:
        folder: The set.
        entry: The tar.
        edition: The edition whose captions are joined.
        columns: Index columns to join as well; None for none.

    Raises:
        CorpusError: A file beside the tar is of other samples.
        DamagedError: A file or a sample is damaged.
        FileNotFoundError: The tar, or a file beside it, is missing.
    """
    index = read_index(folder, entry)
    captions = read_beside(folder, entry, edition, edition.captions(entry.path), index)
    added = pa.table({})
    if columns is not None:
        added = read_beside(folder, entry, columns, columns.values(entry.path), index)
    places = index.drop_columns(["crop"]).to_pylist()
    name = folder.name(entry.path)
    for first, last in _pieces(places):
        start = places[first]["offset"] - BLOCK
        end = max(p["json_offset"] + p["json_size"] for p in places[first:last])
        piece = memoryview(folder.store.read_range(name, start, end - start))
        texts_by_sample = captions.slice(first, last - first).to_pylist()
        values = added.slice(first, last - first).to_pylist() or [{}] * (last - first)
        for place, texts, more in zip(places[first:last], texts_by_sample, values, strict=True):
            at = place["offset"] - start
            picture = bytes(piece[at : at + place["size"]])
            if hashlib.sha256(picture).hexdigest() != place["sha256"]:
                raise damaged(folder.store, name, f"the picture of {place['id']} has changed")
            at = place["json_offset"] - start
            try:
                facts = json.loads(bytes(piece[at : at + place["json_size"]]))
            except ValueError as error:
                what = f"the JSON about {place['id']} is not valid ({error})"
                raise damaged(folder.store, name, what) from error
            yield Joined(place["id"], picture, _facts(facts, texts, more))


def _facts(about: dict[str, Any], texts: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Returns all fields of a sample; numbers that JSON can't express (NaN, infinity) are None."""
    facts = {name: about.get(name) for name in FIELDS.names}
    facts |= {name: texts[name] or [] for name in ("captions", "caption_sources")}
    for name, value in more.items():
        if name != "id":
            odd = isinstance(value, float) and not math.isfinite(value)
            facts[column_name(name)] = None if odd else value
    return facts


def _pieces(places: list[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Yields the first row and the end (exclusive) of each piece that is read at once."""
    first = 0
    for number, place in enumerate(places):
        end = place["json_offset"] + place["json_size"]
        if number > first and end - places[first]["offset"] > PIECE:
            yield first, number
            first = number
    if first < len(places):
        yield first, len(places)


def _plain(field: pa.Field) -> pa.Field:
    """Turns a list of fixed length into a plain list, which all readers support."""
    if pa.types.is_fixed_size_list(field.type):
        return pa.field(field.name, pa.list_(field.type.value_type))
    return field
