"""The compared data as rows of fixed size, in memory and in the files of a partitioned search.

A record's `place` is one number that has its corpus (0 is the own one, others are those that it is
compared against), its shard and its row, and by which records are ordered.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nucleus_data.corpus.tables import CROWDED_PAIRS_SCHEMA
from nucleus_data.corpus.tables import PAIRS_SCHEMA as PAIRS

# `width` is 0 if the image was not measured; its hashes are then undefined.
PICTURE = np.dtype(
    [
        ("place", "<u8"),
        ("id", "<u8", (2,)),
        ("phash", "<u8"),
        ("hash256", "<u8", (4,)),
        ("width", "<i4"),
        ("height", "<i4"),
    ]
)
RECORD = np.dtype([*((n, PICTURE[n]) for n in PICTURE.names or ()), ("sha256", "<u8", (4,))])
# A pair of the `dedup` table.
EDGE = np.dtype(
    [
        ("place", "<u8"),
        ("other", "<u8"),
        ("id", "<u8", (2,)),
        ("other_id", "<u8", (2,)),
        ("distance", "i1"),
        ("distance256", "<i2"),
        ("aspect_difference", "<f4"),
        ("exact", "?"),
    ]
)
# A pair of near pictures, by their indices, the smaller one first.
NEAR = np.dtype(
    [
        ("one", "<i8"),
        ("other", "<i8"),
        *((name, EDGE[name]) for name in ("distance", "distance256", "aspect_difference")),
    ]
)
# A member of a crowd (`crowds`), with the first record of its crowd, and its own measured values.
LISTED = np.dtype(
    [
        *((name, EDGE[name]) for name in ("place", "other", "id", "other_id")),
        *((name, PICTURE[name]) for name in ("phash", "hash256", "width", "height")),
    ]
)
Rows = NDArray[Any]

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
SHARD_BITS, ROW_BITS = 24, 32
MAX_SHARD, MAX_CORPUS = (1 << SHARD_BITS) - 1, (1 << 8) - 1
TEXTS = 1 << 20  # ids that are converted at a time, since an Arrow array has at most 2 GB of text
UNKNOWN = np.uint64(2**64 - 1)


def place_of(shard: NDArray[Any], row: NDArray[Any], corpus: int = 0) -> NDArray[np.uint64]:
    """Returns the places of rows, uint64[N].

    Args:
        shard: Image shards, 0 to `MAX_SHARD`, [N].
        row: Rows in their shards, [N].
        corpus: The number of their corpus, 0 to `MAX_CORPUS`.

    Raises:
        ValueError: A shard is out of range.
    """
    if len(shard) and not 0 <= int(shard.min()) <= int(shard.max()) <= MAX_SHARD:
        raise ValueError(f"shards must be 0 to {MAX_SHARD}, got {shard.min()} to {shard.max()}")
    high = np.uint64(corpus) << np.uint64(SHARD_BITS) | shard.astype(np.uint64)
    places: NDArray[np.uint64] = high << np.uint64(ROW_BITS) | row.astype(np.uint64)
    return places


def places_of(table: pa.Table) -> NDArray[np.int64]:
    """Returns the places of a table's rows in the own corpus, from `shard` and `row`, int64[N]."""
    shard, row = (table.column(name).to_numpy().astype(np.int64) for name in ("shard", "row"))
    places: NDArray[np.int64] = shard << ROW_BITS | row
    return places


def corpus_of(place: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Returns the number of the corpus of each place."""
    return (place >> np.uint64(SHARD_BITS + ROW_BITS)).astype(np.int64)


def shard_of(place: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Returns the shard of each place."""
    return (place >> np.uint64(ROW_BITS)).astype(np.int64) & MAX_SHARD


def row_of(place: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Returns the row of each place."""
    return (place & np.uint64((1 << ROW_BITS) - 1)).astype(np.int64)


def records_of(table: pa.Table, corpus: int = 0) -> Rows:
    """Converts records to `RECORD` rows, ordered by place.

    Args:
        table: The columns of `INPUT` in any order; others are ignored. `sha256` and the measured
            columns may be null. An id has 32 hex digits, a SHA-256 has 64.
        corpus: The number of the records' corpus.

    Raises:
        ValueError: A column is missing or of another type, a size is below 1, an id or a SHA-256 is
            not hex, or a (shard, row) occurs twice.
    """
    missing = sorted(set(INPUT.names) - set(table.column_names))
    if missing:
        raise ValueError(
            f"duplicates need the columns {missing}; the table has {sorted(table.column_names)}"
        )
    try:
        table = table.select(INPUT.names).cast(INPUT).combine_chunks()
    except (ValueError, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"duplicates need {INPUT}\nthe table has {table.schema}") from error
    records = np.zeros(table.num_rows, RECORD)
    shard, row = table["shard"].to_numpy(), table["row"].to_numpy()
    records["place"] = place_of(shard, row, corpus)
    records["id"] = _from_hex(table["id"], 2)
    known = table["sha256"].is_valid().to_numpy()
    records["sha256"][known] = _from_hex(table["sha256"].drop_null(), 4)
    # A record without a SHA-256 gets a value that no other record has.
    records["sha256"][~known] = UNKNOWN
    records["sha256"][~known, 0] = records["place"][~known]
    sides = [table[name].fill_null(1).to_numpy() for name in ("width", "height")]
    small = np.flatnonzero(np.minimum(*sides) < 1)
    if len(small):
        at = int(small[0])
        raise ValueError(
            f"record {table['id'][at]} is {sides[0][at]} x {sides[1][at]} pixels; "
            "width and height must be at least 1"
        )
    names = ("phash", "hash256", "width", "height")
    measured = np.logical_and.reduce([table[name].is_valid().to_numpy() for name in names])
    records["phash"] = table["phash"].fill_null(0).to_numpy()
    records["hash256"] = _words(table["hash256"])
    for name, side in zip(("width", "height"), sides, strict=True):
        records[name] = np.where(measured, side, 0)
    records = by_place(records)
    again = np.flatnonzero(records["place"][1:] == records["place"][:-1])
    if len(again):
        twice = records["place"][again[:1]]
        raise ValueError(
            f"duplicates need each record once, got shard {shard_of(twice)[0]}, "
            f"row {row_of(twice)[0]} twice"
        )
    return records


def by_place(rows: Rows) -> Rows:
    """Sorts rows by their places."""
    if (rows["place"][1:] >= rows["place"][:-1]).all():
        return rows
    return rows[np.argsort(rows["place"], kind="stable")]


def pictures_of(records: Rows) -> Rows:
    """Converts `RECORD` rows to `PICTURE` rows."""
    pictures = np.empty(len(records), PICTURE)
    for name in PICTURE.names or ():
        pictures[name] = records[name]
    return pictures


def pairs_table(edges: Rows, corpora: tuple[str, ...] = (), listed: Rows | None = None) -> pa.Table:
    """Makes the table `dedup`, sorted by both places; members of a record's crowd come last.

    Args:
        edges: `EDGE` rows, pairs whose first record is of the own corpus.
        corpora: Names of the other corpora, whose numbers are 1 and up.
        listed: `LISTED` rows, members of crowds whose first record is of the own corpus.

    Returns:
        The table. If `listed` has rows, it also has `CROWD_FIELDS`; the distances and the
        difference of the aspect ratios are null in these rows.
    """
    if listed is None:
        listed = np.empty(0, LISTED)
    # Several blocks may list a record in the same crowd.
    listed = listed[np.unique(listed[["place", "other"]], return_index=True)[1]]
    edges = edges[np.lexsort((edges["other"], edges["place"]))]
    pairs = _with_ids(edges, corpora)
    for name in PAIRS.names[6:]:
        pairs[name] = pa.array(np.ascontiguousarray(edges[name]))
    table = pa.table(pairs, schema=PAIRS)
    if not len(listed):
        return table
    members = _with_ids(listed, corpora)
    members["exact"] = pa.array(np.zeros(len(listed), bool))
    for name in ("phash", "width", "height"):
        members[f"other_{name}"] = pa.array(np.ascontiguousarray(listed[name]))
    hashes = pa.py_buffer(np.ascontiguousarray(listed["hash256"]).tobytes())
    members["other_hash256"] = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(32), len(listed), [None, hashes]
    )
    fields = [field for field in CROWDED_PAIRS_SCHEMA if field.name in members]
    tables = [CROWDED_PAIRS_SCHEMA.empty_table(), table, pa.table(members, pa.schema(fields))]
    together = pa.concat_tables(tables, promote_options="default")
    order = np.lexsort((np.arange(together.num_rows), places_of(together)))
    return together.take(pa.array(order)).combine_chunks()


def _with_ids(edges: Rows, corpora: tuple[str, ...]) -> dict[str, pa.Array | pa.ChunkedArray]:
    """Returns the columns of the table `dedup` that name the records of `EDGE` or `LISTED` rows."""
    foreign = corpus_of(edges["other"])
    own = foreign == 0
    other_ids = _to_hex(edges["other_id"])
    if not own.all():
        names = pa.array(["", *(f"{name}:" for name in corpora)])
        prefixes = names.take(pa.array(foreign.astype(np.int64)))
        other_ids = pc.binary_join_element_wise(prefixes, other_ids, "")
    return {
        "shard": pa.array(shard_of(edges["place"]), pa.int32()),
        "row": pa.array(row_of(edges["place"]), pa.int32()),
        "id": _to_hex(edges["id"]),
        "other_shard": pa.array(shard_of(edges["other"]), pa.int32(), mask=~own),
        "other_row": pa.array(row_of(edges["other"]), pa.int32(), mask=~own),
        "other_id": other_ids,
    }


def _from_hex(column: pa.ChunkedArray, words: int) -> NDArray[np.uint64]:
    """Converts N strings of 16 * words hex digits to uint64[N, words]."""
    try:
        data = bytes.fromhex("".join(column.to_pylist()))
        numbers = np.frombuffer(data, np.uint64).reshape(len(column), words)
    except ValueError:
        raise ValueError(
            f"ids must have 32 hex digits and SHA-256 64, got {column[:3].to_pylist()}, ..."
        ) from None
    return numbers


def _to_hex(words: NDArray[np.uint64]) -> pa.ChunkedArray:
    """Converts uint64[N, words] to N strings of 16 * words hex digits, without Python objects."""
    size = 16 * words.shape[1]
    parts = []
    for at in range(0, len(words), TEXTS):
        chunk = np.ascontiguousarray(words[at : at + TEXTS])
        ends = np.arange(0, (len(chunk) + 1) * size, size, dtype=np.int32)
        text = pa.py_buffer(chunk.tobytes().hex().encode())
        parts.append(pa.StringArray.from_buffers(len(chunk), pa.py_buffer(ends), text))
    return pa.chunked_array(parts, pa.string())


def _words(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Converts binary(32) to uint64[N, 4]; undefined where null."""
    parts = [
        np.frombuffer(part.buffers()[1], dtype=np.uint64).reshape(-1, 4)[part.offset :][: len(part)]
        for part in column.chunks
        if len(part)
    ]
    return np.concatenate([np.empty((0, 4), dtype=np.uint64), *parts])
