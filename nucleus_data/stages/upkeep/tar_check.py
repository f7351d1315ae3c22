"""Checks that every byte of a training set's tar is as it was written; finds the faulty samples.

The correct value of each part is known: a header is computed from the name and the size, a
picture's SHA-256 is in the index, the JSON's fields are in the index or determine the id, and the
bytes in between are zeros. A change that no part reveals is detected by the tar's own SHA-256.
"""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa

from nucleus_data.hashing import record_id
from nucleus_data.pixels import PixelError, open_picture
from nucleus_data.sets.layout import TarEntry
from nucleus_data.sets.provenance import FIELDS
from nucleus_data.sets.provenance import encode as provenance
from nucleus_data.sets.tars import BLOCK, header
from nucleus_data.stages.upkeep.faults import Fault

STEP = 1 << 22


@dataclass
class Checked:
    """The result of checking a tar.

    Attributes:
        faults: The faults.
        sha256: SHA-256 of the tar.
        originals: Id -> SHA-256 of the original picture, from the JSON.
    """

    faults: list[Fault] = field(default_factory=list)
    sha256: str = ""
    originals: dict[str, str | None] = field(default_factory=dict)


def check_tar(file: IO[bytes], entry: TarEntry, index: pa.Table, *, decode: bool = True) -> Checked:
    """Checks a tar, reading it once from beginning to end.

    Args:
        file: The tar.
        entry: The tar's entry in the manifest.
        index: The tar's correct index.
        decode: Whether to decode the pictures.
    """
    return _Check(file, entry, decode=decode).run(index)


class _Check:
    """The state of checking one tar."""

    def __init__(self, file: IO[bytes], entry: TarEntry, *, decode: bool) -> None:
        self._file, self._entry, self._decode = file, entry, decode
        self._hash, self._place = hashlib.sha256(), 0
        self._found = Checked()

    def run(self, index: pa.Table) -> Checked:
        whole = True
        for row in index.to_pylist():
            if not self._sample(row):
                whole = False
                break
        if whole:
            self._end()
        while self._read(STEP):
            pass
        self._found.sha256 = self._hash.hexdigest()
        if self._place != self._entry.bytes:
            self._fault("tar_size", "", f"it has {self._place:,} bytes, not {self._entry.bytes:,}")
        if self._found.sha256 != self._entry.sha256 and not self._found.faults:
            self._fault("tar_changed", "", "its SHA-256 differs from that in the manifest")
        return self._found

    def _sample(self, row: Mapping[str, Any]) -> bool:
        """Checks one sample; returns False if the following samples can't be located."""
        ident = row["id"]
        if row["offset"] != self._place + BLOCK:
            self._fault("index_changed", ident, f"the picture should be at {self._place + BLOCK:,}")
            return False
        data = self._member(ident, row["size"], "picture")
        digest = hashlib.sha256(data).hexdigest()
        if digest != row["sha256"]:
            self._fault("picture_changed", ident, f"its SHA-256 is {digest[:16]}...")
        elif self._decode:
            self._picture(data, row)
        if row["json_offset"] != self._place + BLOCK:
            self._fault("index_changed", ident, f"the JSON should be at {self._place + BLOCK:,}")
            return False
        self._json(self._member(ident, row["json_size"], "JSON"), row)
        return True

    def _member(self, ident: str, size: int, what: str) -> bytes:
        """Reads a member's content, and checks its header and padding."""
        head = self._read(BLOCK)
        name = head[:100].rstrip(b"\0").decode("ascii", "replace")
        right = name.partition(".")[0] == ident and name.isascii() and header(name, size) == head
        if not right:
            self._fault("header_changed", ident, f"of its {what}")
        data = self._read(size)
        if any(self._read(-size % BLOCK)):
            self._fault("padding_changed", ident, f"behind its {what}")
        return data

    def _picture(self, data: bytes, row: Mapping[str, Any]) -> None:
        try:
            picture = open_picture(data)
            found = picture.header.width, picture.header.height
            picture.rgb()
        except PixelError as error:
            self._fault("picture_undecodable", row["id"], str(error))
            return
        if found != (row["width"], row["height"]):
            expected = f"{row['width']}x{row['height']}"
            self._fault(
                "picture_size", row["id"], f"{found[0]}x{found[1]}, the index says {expected}"
            )

    def _json(self, data: bytes, row: Mapping[str, Any]) -> None:
        """Checks a sample's JSON as far as possible without the corpus."""
        problem = json_problem(data, row)
        if problem:
            self._fault("json_changed", row["id"], problem)
            return
        self._found.originals[row["id"]] = json.loads(data)["sha256"]

    def _end(self) -> None:
        """Checks that only zeros follow the last sample."""
        while data := self._read(STEP):
            if any(data):
                self._fault("padding_changed", "", "behind the last sample")

    def _read(self, size: int) -> bytes:
        data = self._file.read(size) if size else b""
        self._hash.update(data)
        self._place += len(data)
        return data

    def _fault(self, kind: str, sample: str, detail: str) -> None:
        self._found.faults.append(Fault(kind, self._entry.path, sample, detail))


def json_problem(data: bytes, row: Mapping[str, Any]) -> str:
    """Describes the fault of a sample's JSON, given its row of the index; empty without one."""
    try:
        content = json.loads(data)
    except ValueError as error:
        return f"it is not JSON: {error}"
    if not isinstance(content, dict) or content.keys() != set(FIELDS.names):
        return f"its fields are not {', '.join(FIELDS.names)}"
    if provenance(content) != data:
        return "it is not written as shard writes it"
    for name in ("id", "crop", "width", "height"):
        if content[name] != row[name]:
            return f"{name} is {content[name]!r}, the index says {row[name]!r}"
    if record_id(str(content["source"]), str(content["key"])) != row["id"]:
        return "source and key do not make its id"
    return ""


def walked(file: IO[bytes], index: pa.Table) -> Iterator[dict[str, Any]]:
    """Yields the rows of a tar's index, without `shard` and `row`, computed from the tar itself.

    Args:
        file: The tar.
        index: Any index, for its schema.
    """
    with tarfile.open(fileobj=file) as tar:
        row: dict[str, Any] = {}
        for member in tar:
            source = tar.extractfile(member)
            data = source.read() if source else b""
            if not member.name.endswith(".json"):
                row = {"id": member.name.partition(".")[0], "offset": member.offset_data}
                row |= {"size": member.size, "sha256": hashlib.sha256(data).hexdigest()}
                continue
            row |= {"json_offset": member.offset_data, "json_size": member.size}
            content = json.loads(data)
            row |= {name: content[name] for name in ("crop", "width", "height")}
            yield {name: row[name] for name in index.schema.names if name in row}


def compared(
    rows: pa.Table, read: Callable[[int, int], Mapping[str, Any] | None], file: IO[bytes]
) -> Iterator[tuple[str, str]]:
    """Yields the ids of samples whose JSON differs from the corpus's tables, with a description.

    Args:
        rows: The tar's index.
        read: Returns a record's values by shard and row; None if the record is unknown.
        file: The tar.
    """
    for row in rows.to_pylist():
        known = read(row["shard"], row["row"])
        file.seek(row["json_offset"])
        try:
            content = json.loads(file.read(row["json_size"]))
        except ValueError:
            continue
        if known is None or known.get("id") != row["id"]:
            yield row["id"], f"record {row['shard']}:{row['row']} is a different one"
            continue
        for name, value in known.items():
            if name in content and content[name] != value:
                yield row["id"], f"{name} is {content[name]!r}, the corpus has {value!r}"
                break
