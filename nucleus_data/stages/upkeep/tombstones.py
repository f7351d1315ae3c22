"""Replaces records by tombstones, which keep a record's key and the reason, but no content.

All functions are pure and idempotent, so that an interrupted takedown can simply be repeated.
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
# Columns of a claim that are kept: the position of a row, or the failed record that it retries.
_CLAIM_KEYS = ("row", "id", "source", "retry_shard", "retry_row")
_SELECTION = ("shard", "row", "id")


def without_rows(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Returns a table of measurements without the given rows."""
    return table.filter(pc.invert(_among(table, rows)))


def record_tombstones(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Returns records in which the given rows have a reason instead of content."""
    return _replaced(table, rows, _KEYS, {"error": TAKEN_DOWN, "retryable": False})


def claim_tombstones(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Returns a claim in which the given rows have a reason instead of a picture's location."""
    return _replaced(table, rows, _CLAIM_KEYS, {"error": TAKEN_DOWN, "retryable": False})


def decision_tombstones(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Returns a selection's decisions in which the given rows are failed."""
    values: dict[str, Any] = {"state": FAILED, "reasons": [TAKEN_DOWN], "retryable": False}
    lists = ("conditions", "flags", "nulls", "pending_on")
    values |= {name: [] for name in lists if name in table.column_names}
    return _replaced(table, rows, _SELECTION, values)


def _among(table: pa.Table, rows: np.ndarray) -> pa.ChunkedArray:
    return pc.is_in(table.column("row"), pa.array(rows, table.schema.field("row").type))


def _replaced(
    table: pa.Table, rows: np.ndarray, kept: Iterable[str], values: Mapping[str, Any]
) -> pa.Table:
    """Returns a table in which some rows have only `kept` columns, and `values` in others."""
    replaced, kept = _among(table, rows), set(kept)
    for index, field in enumerate(table.schema):
        if field.name in kept:
            continue
        value = pa.scalar(values.get(field.name), field.type)
        column = pc.if_else(replaced, value, table.column(field.name))
        # In a folder's claim, the path is not nullable.
        field = field if value.is_valid else field.with_nullable(True)
        table = table.set_column(index, field, column.cast(field.type))
    return table


def blank_copy(
    tar: IO[bytes], target: Path, places: Mapping[str, tuple[int, int]], rows: Iterable[int]
) -> str:
    """Copies an image shard's tar with zeros in place of some pictures, without moving anything.

    So the offsets of other pictures remain valid in all tables. The member of a picture is renamed
    to `<id>.taken_down`. The download outcomes (`outcomes.json`, the last member) lose the content
    of these rows, and are padded with spaces. The copy never contains a byte of the pictures.

    Args:
        tar: The tar, seekable.
        target: Path of the copy.
        places: Record id -> offset and size of its picture, in bytes.
        rows: All rows of the shard that are taken down, with or without a picture.

    Returns:
        The copy's SHA-256, in hex.
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
    """Writes a file and computes its hash."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.size, self.hash = file, 0, hashlib.sha256()

    def put(self, data: bytes) -> None:
        """Writes bytes."""
        self._file.write(data)
        self.hash.update(data)
        self.size += len(data)

    def copy(self, source: IO[bytes], size: int | None) -> None:
        """Copies `size` bytes from another file's current position; None for all the rest."""
        while size is None or size > 0:
            data = source.read(STEP if size is None else min(STEP, size))
            if not data:
                return
            self.put(data)
            size = None if size is None else size - len(data)


@dataclass(frozen=True)
class _Blank:
    """Replaces a picture and its header by another name and zeros."""

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
    """Replaces the download outcomes by those without some rows, with the same size."""

    size: int
    rows: tuple[int, ...]

    def apply(self, tar: IO[bytes], writer: _Writer) -> None:
        writer.put(_blank_outcomes(tar.read(self.size), self.rows))


def _outcomes(file: IO[bytes]) -> tuple[int, int] | None:
    """Returns offset and size of the member with the download outcomes; None without one."""
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        for member in tar:
            if member.name == OUTCOMES:
                return member.offset_data, member.size
    return None


def _blank_outcomes(data: bytes, rows: Iterable[int]) -> bytes:
    """Returns the outcomes without the content of some rows, padded to the same size."""
    content = json.loads(data)
    for row in rows:
        found = content["rows"].pop(str(row), None)
        if found is not None and "error" in found:
            content["rows"][str(row)] = {"error": TAKEN_DOWN, "retryable": False}
    text = json.dumps(content, sort_keys=True, indent=0).encode()
    if len(text) > len(data):  # not in the form that ingest writes
        text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return text.ljust(len(data))
