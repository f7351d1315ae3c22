"""From the table of hashes to the `dedup` table: every confirmed pair, classes written as stars.

The package's docstring says how to read the table. Records without hashes (their image failed) take
part only by their bytes. Two records with the same bytes are one picture, whatever was measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.dedup.classes import Members, first_of_bytes, first_of_class
from nucleus_data.dedup.codes import Indices
from nucleus_data.dedup.confirm import confirm
from nucleus_data.dedup.search import group_equal, iterate_near_pairs
from nucleus_data.dedup.settings import DedupSettings

INPUT = pa.schema(
    [
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        ("sha256", pa.string()),
        ("phash", pa.uint64()),
        ("hash256", pa.binary(32)),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
PAIRS = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("id", pa.string()),
        ("other_shard", pa.int32()),
        ("other_row", pa.int32()),
        ("other_id", pa.string()),
        ("distance", pa.int8()),
        ("distance256", pa.int16()),
        ("aspect_difference", pa.float32()),
        ("exact", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class _Records:
    """The table as arrays, N records in the order of (shard, row).

    Attributes:
        table: The sorted table.
        measured: Whether the record has hashes and a size, bool[N]. Without, the three below mean
            nothing.
        phash: uint64[N].
        hash256: uint64[N, 4].
        size: Width and height, int64[N, 2].
        sha256: A number for each distinct content, int64[N].
    """

    table: pa.Table
    measured: NDArray[np.bool_]
    phash: NDArray[np.uint64]
    hash256: NDArray[np.uint64]
    size: Indices
    sha256: Indices


# Rows of the result as columns: two records' places, distance, distance256, aspect difference.
_Edges = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def find_duplicates(table: pa.Table, settings: DedupSettings | None = None) -> pa.Table:
    """Finds all near duplicates among the records.

    Time and memory grow with the records and the pairs of classes found. Only K *different* classes
    under one pHash (other 256-bit hashes or shapes) cost K^2 comparisons, still in bounded memory.

    Args:
        table: `shard`, `row`, `id`, `sha256`, `phash` (uint64), `hash256` (32 bytes), `width`,
            `height` of every record, in any order; other columns are ignored. `sha256` and the
            measured columns may be null.
        settings: What counts as near; the defaults if None.

    Returns:
        A table with the schema `PAIRS`, each pair once, (shard, row) before (other_shard,
        other_row), sorted by both. Rows with `exact`, or with all differences zero, connect the
        members of a class; see the package's docstring.

    Raises:
        ValueError: A column is missing or of another type, a size is below 1, or a (shard, row)
            occurs twice.
    """
    settings = settings or DedupSettings()
    records = _read(table)
    places = np.arange(len(records.measured))
    # Two steps, so that each copy of the same bytes is linked to one of them, and counted as exact.
    for_bytes = first_of_bytes(records.sha256, records.measured)
    pictures = np.flatnonzero((for_bytes == places) & records.measured)
    for_class = pictures[
        first_of_class(records.phash[pictures], records.hash256[pictures], records.size[pictures])
    ]
    edges = [
        _links(places, for_bytes),
        _links(pictures, for_class),
        *_near(records, pictures[for_class == pictures], settings),
    ]
    return _write(records, edges)


def _read(table: pa.Table) -> _Records:
    missing = sorted(set(INPUT.names) - set(table.column_names))
    if missing:
        raise ValueError(
            f"duplicates need the columns {missing}; the table has {sorted(table.column_names)}"
        )
    try:
        table = table.select(INPUT.names).cast(INPUT)
    except (ValueError, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"duplicates need {INPUT}\nthe table has {table.schema}") from error
    table = table.sort_by([("shard", "ascending"), ("row", "ascending")]).combine_chunks()
    shard, row = table["shard"].to_numpy(), table["row"].to_numpy()
    again = np.flatnonzero((shard[1:] == shard[:-1]) & (row[1:] == row[:-1]))
    if len(again):
        raise ValueError(
            "duplicates need each record once, "
            f"got shard {shard[again[0]]}, row {row[again[0]]} twice"
        )
    sides = [table[name].fill_null(1).to_numpy() for name in ("width", "height")]
    size = np.stack(sides, axis=1).astype(np.int64)
    if (size < 1).any():
        place = int(np.flatnonzero((size < 1).any(axis=1))[0])
        raise ValueError(
            f"record {table['id'][place]} is {size[place, 0]} x {size[place, 1]} pixels; "
            "width and height must be at least 1"
        )
    valid = [table[name].is_valid().to_numpy() for name in ("phash", "hash256", "width", "height")]
    return _Records(
        table=table,
        measured=np.logical_and.reduce(valid),
        phash=table["phash"].fill_null(0).to_numpy(),
        hash256=_hash256(table["hash256"]),
        size=size,
        sha256=_number(table["sha256"]),
    )


def _hash256(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """binary(32) as uint64[N, 4]; anything where null."""
    parts = [
        np.frombuffer(part.buffers()[1], dtype=np.uint64).reshape(-1, 4)[part.offset :][: len(part)]
        for part in column.chunks
        if len(part)
    ]
    return np.concatenate([np.empty((0, 4), dtype=np.uint64), *parts])


def _number(column: pa.ChunkedArray) -> Indices:
    """A number for each distinct value, int64[N]; each null has its own."""
    codes = pa.chunked_array(column.combine_chunks().dictionary_encode().indices)
    own = len(column) + np.arange(len(column))
    numbers: Indices = np.where(codes.is_valid(), codes.fill_null(0), own)
    return numbers


def _links(member: Indices, representative: Indices) -> _Edges:
    """Joins members of a class to the one that stands for them, itself left out."""
    linked = np.flatnonzero(member != representative)
    zeros = np.zeros(len(linked), dtype=np.int8)
    return member[linked], representative[linked], zeros, zeros, zeros


def _near(records: _Records, leaders: Indices, settings: DedupSettings) -> Iterator[_Edges]:
    """Confirmed pairs of classes, by those that stand for them."""
    groups = group_equal(records.phash[leaders])
    code = groups.of_each()
    shared = np.flatnonzero(np.bincount(code) > 1)
    members = Members(code)
    same_code = (shared, shared, np.zeros(len(shared), dtype=np.int8))
    for one, other, distance in chain(
        [same_code], iterate_near_pairs(groups.codes, settings.distance)
    ):
        for pair, left, right in members.of_pairs(one, other):
            first, second = leaders[left], leaders[right]
            counts, distance256, aspect = confirm(
                records.hash256[first],
                records.hash256[second],
                records.size[first],
                records.size[second],
                hash256_limit=settings.hash256_distance,
                aspect_tolerance=settings.aspect_tolerance,
            )
            yield (
                first[counts],
                second[counts],
                distance[pair[counts]],
                distance256[counts],
                aspect[counts],
            )


def _write(records: _Records, edges: Sequence[_Edges]) -> pa.Table:
    one, other, distance, distance256, aspect = (
        np.concatenate(columns) for columns in zip(*edges, strict=True)
    )
    first, second = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    place = records.table.select(["shard", "row", "id"])
    columns = [
        *place.take(first).columns,
        *place.take(second).columns,
        distance[order].astype(np.int8),
        distance256[order].astype(np.int16),
        aspect[order].astype(np.float32),
        records.sha256[first] == records.sha256[second],
    ]
    return pa.table(columns, schema=PAIRS)
