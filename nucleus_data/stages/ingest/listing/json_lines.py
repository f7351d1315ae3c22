"""JSON lines as a table: one object a line; a line that is none costs itself alone.

A column has one type: of truth values, integers, numbers, texts or lists of texts, if all its
values are (a list may be empty, and hold nulls); else each value is its JSON text. Names of columns
hold no control character. The file is read twice, once for the types.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.stages.ingest.texts import cleaned
from nucleus_data.upstream.damaged_row import DamagedRow
from nucleus_data.upstream.lines import SHOWN, Line, json_rows

BATCH = 10_000
_TYPES = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}
_TEXTS = "texts"


def read_json_lines(store: Store, name: str, target: Path) -> list[DamagedRow]:
    """Writes the lines that can be read to a Parquet file; returns the others.

    Args:
        store: The file, in UTF-8.
        name: Name of the file, for messages.
        target: The Parquet file.

    Raises:
        OSError: It cannot be read, or no line has a field.
    """
    kinds: dict[str, set[str]] = {}
    damaged: list[DamagedRow] = []
    for line, row in _rows(store):
        if line.problem:
            text = line.text[:SHOWN].strip()
            damaged.append(DamagedRow(name, line.number, text, line.problem))
            continue
        for key, value in row.items():
            found = kinds.setdefault(key, set())
            if value is not None:
                found.add(_kind(value))
    if not kinds:
        first = f": {damaged[0]}" if damaged else ""
        raise OSError(f"no line is a JSON object with a field{first}")
    schema = pa.schema([(key, _type(found)) for key, found in kinds.items()])
    rows = (row for line, row in _rows(store) if not line.problem)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH)):
            values = [
                {key: _as(row.get(key), schema.field(key).type) for key in kinds} for row in batch
            ]
            writer.write_table(pa.Table.from_pylist(values, schema))
    return damaged


def _rows(store: Store) -> Iterator[tuple[Line, dict[str, Any]]]:
    with with_retries(lambda: store.fs.open(store.path(""), "rb")) as file:
        for line, row in json_rows(file):
            yield line, {cleaned(key): value for key, value in row.items()}


def _kind(value: Any) -> str:
    if isinstance(value, list) and all(item is None or isinstance(item, str) for item in value):
        return _TEXTS
    return type(value).__name__


def _type(found: set[str]) -> pa.DataType:
    if found == {"int", "float"}:
        return pa.float64()
    if found == {_TEXTS}:
        return pa.list_(pa.string())
    return _TYPES.get(next(iter(found)), pa.string()) if len(found) == 1 else pa.string()


def _as(value: Any, kind: pa.DataType) -> Any:
    """Converts a value to the type of its column."""
    if value is None:
        return None
    if pa.types.is_string(kind):
        value = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return value.encode("utf-8", "backslashreplace").decode()
    if pa.types.is_list(kind):
        return [item and item.encode("utf-8", "backslashreplace").decode() for item in value]
    return float(value) if pa.types.is_floating(kind) else value
