"""What stays of a record that is taken down: its key and the reason, and none of its content.

Pure functions of a file's old content: applied to what they returned, they return the same, so
that a takedown that was killed is done by doing it again.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nucleus_data.corpus.blocked import TAKEN_DOWN
from nucleus_data.corpus.states import FAILED
from nucleus_data.corpus.tar_names import OUTCOMES, TAKEN_DOWN_SUFFIX

BLOCK = tarfile.BLOCKSIZE
STEP = 1 << 20
_KEYS = ("shard", "row", "id", "source")
# Of a claim these stay too: they say where its row stands, or which failed record it stands for.
_CLAIM_KEYS = ("row", "id", "source", "retry_shard", "retry_row")
_SELECTION = ("shard", "row", "id")


def without_rows(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """A measured table without some records: they have no value any more."""
    return table.filter(pc.invert(_among(table, rows)))


def record_tombstones(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Records of which some have no content any more, but a reason."""
    return _replaced(table, rows, _KEYS, {"error": TAKEN_DOWN, "retryable": False})


def claim_tombstones(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Rows of a claim of which some no longer say where their picture is."""
    return _replaced(table, rows, _CLAIM_KEYS, {"error": TAKEN_DOWN, "retryable": False})


def decision_tombstones(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Decisions of a selection of which some are about records that are taken down."""
    values: dict[str, Any] = {"state": FAILED, "reasons": [TAKEN_DOWN], "retryable": False}
    lists = ("conditions", "flags", "nulls", "pending_on")
    values |= {name: [] for name in lists if name in table.column_names}
    return _replaced(table, rows, _SELECTION, values)


def _among(table: pa.Table, rows: np.ndarray) -> pa.ChunkedArray:
    return pc.is_in(table.column("row"), pa.array(rows, table.schema.field("row").type))


def _replaced(
    table: pa.Table, rows: np.ndarray, kept: Iterable[str], values: Mapping[str, Any]
) -> pa.Table:
    """A table in some of whose rows all columns but a few are null, or a value."""
    mine, kept = _among(table, rows), set(kept)
    for index, field in enumerate(table.schema):
        if field.name in kept:
            continue
        value = pa.scalar(values.get(field.name), field.type)
        column = pc.if_else(mine, value, table.column(field.name))
        # A folder's claim says that each row has a path.
        field = field if value.is_valid else field.with_nullable(True)
        table = table.set_column(index, field, column.cast(field.type))
    return table


def blank_copy(
    tar: IO[bytes], target: Path, places: Mapping[str, tuple[int, int]], rows: Iterable[int]
) -> str:
    """Copies an image shard's tar with zeros in the place of some pictures; nothing else moves.

    So no offset of another picture changes, in no table. What was learnt beside the pictures
    (`outcomes.json`, the last member) loses what it says of their rows, and is filled up with
    spaces. Members are then called `<id>.taken_down`. No byte of a picture is ever in the copy.

    Args:
        tar: The tar, as a file in which one can seek.
        target: Where the copy is written.
        places: Record id -> offset and size of its picture.
        rows: All rows of the shard that are taken down, with a picture or without.

    Returns:
        The copy's SHA-256.
    """
    changes: list[tuple[int, _Blank | _Outcomes]] = [
        (offset - BLOCK, _Blank(f"{ident}{TAKEN_DOWN_SUFFIX}", size))
        for ident, (offset, size) in places.items()
    ]
    if (found := _outcomes(tar)) is not None:
        changes.append((found[0], _Outcomes(found[1], tuple(rows))))
    tar.seek(0)
    with target.open("wb") as file:
        writer = _Writer(file)
        for offset, change in sorted(changes, key=lambda item: item[0]):
            writer.copy(tar, offset - writer.size)
            change.apply(tar, writer)
        writer.copy(tar, None)
    return writer.hash.hexdigest()


class _Writer:
    """A file that is hashed while it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.size, self.hash = file, 0, hashlib.sha256()

    def put(self, data: bytes) -> None:
        """Writes some bytes."""
        self._file.write(data)
        self.hash.update(data)
        self.size += len(data)

    def copy(self, source: IO[bytes], size: int | None) -> None:
        """Copies so many bytes from where another file stands; None for all that are left."""
        while size is None or size > 0:
            data = source.read(STEP if size is None else min(STEP, size))
            if not data:
                return
            self.put(data)
            size = None if size is None else size - len(data)


@dataclass(frozen=True)
class _Blank:
    """A picture with its header: another name, and zeros."""

    name: str
    size: int

    def apply(self, tar: IO[bytes], writer: _Writer) -> None:
        header = bytearray(tar.read(BLOCK))
        header[:100] = self.name.encode().ljust(100, b"\0")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        writer.put(bytes(header))
        for start in range(0, self.size, STEP):
            writer.put(bytes(min(STEP, self.size - start)))
        tar.seek(self.size, 1)


@dataclass(frozen=True)
class _Outcomes:
    """What is said beside the pictures, less some rows, in as many bytes."""

    size: int
    rows: tuple[int, ...]

    def apply(self, tar: IO[bytes], writer: _Writer) -> None:
        writer.put(_blank_outcomes(tar.read(self.size), self.rows))


def _outcomes(file: IO[bytes]) -> tuple[int, int] | None:
    """Offset and size of the member that says what the pictures do not tell."""
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        for member in tar:
            if member.name == OUTCOMES:
                return member.offset_data, member.size
    return None


def _blank_outcomes(data: bytes, rows: Iterable[int]) -> bytes:
    """The outcomes without what they say of some rows, in as many bytes."""
    content = json.loads(data)
    for row in rows:
        found = content["rows"].pop(str(row), None)
        if found is not None and "error" in found:
            content["rows"][str(row)] = {"error": TAKEN_DOWN, "retryable": False}
    text = json.dumps(content, sort_keys=True, indent=0).encode()
    if len(text) > len(data):  # written otherwise than by ingest
        text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return text.ljust(len(data))
