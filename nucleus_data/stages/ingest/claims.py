"""Claims: the upstream rows of an image shard, with everything needed to build the shard.

`claims/000017.parquet` is written by create-if-absent, so each number belongs to one ingest, even
if several run at once. Its columns are row, id, source, those of `spool.LOCATION`, and
`source.NAME`; its footer has the kind, name, address and root of the source, and the settings for
building. Credentials (`storage_options`) are never stored. The claim of a retry also has
`retry_shard` and `retry_row`: the failed record that each row supersedes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.at_once import at_once
from nucleus_data.corpus.damaged import read_whole, reading
from nucleus_data.corpus.footers import read_ending
from nucleus_data.corpus.parts import PREFIX, encode_part
from nucleus_data.corpus.store import Store, with_retries
from nucleus_data.errors import CorpusError
from nucleus_data.stages.ingest.listing.spool import (
    BESIDE_CHANGED,
    CHANGED,
    LOCATION,
    SIDECARS,
    batches,
)
from nucleus_data.stages.ingest.listing.spool import PREFIX as SOURCE
from nucleus_data.stages.ingest.listing.walk import told_time
from nucleus_data.stages.ingest.plain_texts import without_empty

FOLDER = "claims"
# Fewer concurrent reads than elsewhere, since whole claims are in memory.
CLAIMS_AT_ONCE = 16
# Columns of claimed rows that a later ingest compares with the source's current rows.
CLAIMED_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("claimed", pa.float64()),
        ("caption", pa.string()),
        *((name, LOCATION.field(name).type) for name in LOCATION.names),
        *((name, pa.binary()) for name in SIDECARS),
    ]
)
_CAPTION = SOURCE + "caption"
NEVER_CLAIMED = ("position", CHANGED, BESIDE_CHANGED)
RETRY_SHARD, RETRY_ROW = "retry_shard", "retry_row"


@dataclass(frozen=True)
class Origin:
    """The source of a claim's rows, stored in its footer.

    Attributes:
        kind: Kind of the source (`settings.Kind`).
        source: The source's name.
        uri: The source's address as the user gave it, made absolute.
        root: The folder that paths in the claim are relative to.
        settings: The settings for building, from `IngestSettings.for_claim()`.
    """

    kind: str
    source: str
    uri: str
    root: str
    settings: Mapping[str, Any]

    def footer(self) -> dict[str, str]:
        """Returns the keys of a claim's footer."""
        return {
            "kind": self.kind,
            "source": self.source,
            "uri": self.uri,
            "root": self.root,
            "settings": json.dumps(self.settings, sort_keys=True),
        }


@dataclass(frozen=True)
class Claim:
    """A claim: its number, the source of its rows, and the rows in order."""

    number: int
    origin: Origin
    rows: pa.Table


def claim_name(number: int) -> str:
    """Returns the path of a claim below the corpus."""
    return f"{FOLDER}/{number:06d}.parquet"


def claim_numbers(store: Store) -> list[int]:
    """Returns the numbers of all claims, ascending."""
    names = [name.removesuffix(".parquet") for name in store.list(FOLDER)]
    return sorted(int(name) for name in names if name.isdigit())


def read_claim(corpus: Corpus, number: int) -> Claim:
    """Reads a claim.

    Raises:
        CorpusError: There is no such claim, or it is damaged.
    """
    name = claim_name(number)
    try:
        data = read_whole(corpus.store, name)
    except FileNotFoundError:
        raise CorpusError(f"{name} is missing from {corpus.uri}") from None
    with reading(corpus.store, name):
        rows = pq.read_table(pa.BufferReader(data))
        return Claim(
            number, _origin(number, rows.schema.metadata), rows.replace_schema_metadata(None)
        )


def read_origin(corpus: Corpus, number: int) -> Origin:
    """Reads a claim's footer only."""
    name = claim_name(number)
    metadata = read_ending(corpus.store, name)
    with reading(corpus.store, name):
        return _origin(number, metadata.metadata)


def read_origins(corpus: Corpus, numbers: Iterable[int]) -> Iterator[tuple[int, Origin]]:
    """Yields (number, origin) of claims, in order; many footers are read concurrently."""
    yield from at_once(corpus.store, lambda n: (n, read_origin(corpus, n)), numbers)


def claimed_rows(corpus: Corpus, number: int, time: float | None) -> pa.Table:
    """Reads the rows of a claim in the schema `CLAIMED_SCHEMA`; columns that it lacks are null.

    Args:
        corpus: The corpus.
        number: The claim's number.
        time: When it was written, in seconds since the epoch (`claim_times`); None if unknown.
    """
    name = claim_name(number)
    data = read_whole(corpus.store, name)
    with reading(corpus.store, name):
        claim = pq.ParquetFile(pa.BufferReader(data))
        there = [name for name in CLAIMED_SCHEMA.names if name in claim.schema_arrow.names]
        captioned = _CAPTION in claim.schema_arrow.names
        rows = claim.read(columns=[*there, *([_CAPTION] if captioned else [])])
        given = {
            "shard": pa.array([number] * len(rows), pa.int32()),
            "claimed": pa.array([time] * len(rows), pa.float64()),
            "caption": rows.column(_CAPTION) if captioned else pa.nulls(len(rows)),
            **{name: rows.column(name) for name in there},
        }
        columns = [given.get(f.name, pa.nulls(len(rows))).cast(f.type) for f in CLAIMED_SCHEMA]
        return pa.table(columns, CLAIMED_SCHEMA)


def claim_times(store: Store) -> dict[int, float]:
    """Returns claim -> when it was written, in seconds since the epoch, if the store knows."""
    if not claim_numbers(store):
        return {}
    entries = with_retries(lambda: store.fs.ls(store.path(FOLDER), detail=True, refresh=True))
    times = {entry["name"].rsplit("/", 1)[-1]: told_time(entry) for entry in entries}
    return {
        int(name.removesuffix(".parquet")): time
        for name, time in times.items()
        if name.removesuffix(".parquet").isdigit() and time is not None
    }


def retried_places(corpus: Corpus, number: int) -> list[tuple[int, int]]:
    """Returns (shard, row) of the failed records that a claim retries; empty if it is no retry."""
    name = claim_name(number)
    metadata = read_ending(corpus.store, name)
    if RETRY_SHARD not in metadata.schema.names:
        return []
    data = read_whole(corpus.store, name)
    with reading(corpus.store, name):
        places = pq.ParquetFile(pa.BufferReader(data)).read(columns=[RETRY_SHARD, RETRY_ROW])
        return list(zip(*(column.to_pylist() for column in places.columns), strict=True))


def create_claim(corpus: Corpus, number: int, rows: pa.Table, origin: Origin) -> bool:
    """Claims a shard number for rows.

    Args:
        corpus: The corpus.
        number: The number to claim; if it is taken, nothing is written.
        rows: The rows, with `id`, `source`, and the columns of `spool.LOCATION` and `source.NAME`.
        origin: The source of the rows.

    Returns:
        Whether these rows have the number now. (Two ingests that claim exactly the same rows under
        the same number share the claim.)
    """
    places = pa.array(range(rows.num_rows), pa.int32())
    numbered = rows.add_column(0, pa.field("row", pa.int32(), nullable=False), places)
    data = encode_part(numbered, origin.footer())
    return corpus.store.create(claim_name(number), data)


def chunks(path: Path, most_rows: int, most_bytes: int) -> Iterator[pa.Table]:
    """Cuts rows into shards.

    Args:
        path: Parquet file of the rows, in order.
        most_rows: Maximum number of rows per shard.
        most_bytes: Maximum bytes of a shard's images; a single larger image gets its own shard.
    """
    rest: pa.Table | None = None
    for batch in batches(path):
        table = pa.Table.from_batches([batch])
        table = table.drop_columns([n for n in NEVER_CLAIMED if n in table.column_names])
        rest = table if rest is None else pa.concat_tables([rest, table])
        while (cut := _cut(rest, most_rows, most_bytes)) is not None:
            yield without_empty(rest.slice(0, cut)).combine_chunks()
            rest = rest.slice(cut)
    if rest is not None and len(rest):
        yield without_empty(rest).combine_chunks()


def _cut(rows: pa.Table, most_rows: int, most_bytes: int) -> int | None:
    """Returns the number of rows of the first shard; None if further rows may belong to it."""
    sizes = rows["size"].fill_null(0).to_numpy()
    fits = int(np.searchsorted(np.cumsum(sizes), most_bytes, side="right"))
    cut = max(1, min(fits, most_rows))
    return cut if cut < len(rows) or (cut == most_rows and cut == len(rows)) else None


def _origin(number: int, keys: Mapping[bytes, bytes] | None) -> Origin:
    """Parses a claim's footer. Raises CorpusError if it is not that of a claim."""
    metadata = {key.decode(): value.decode() for key, value in (keys or {}).items()}
    try:
        values = {name: metadata[f"{PREFIX}{name}"] for name in ("kind", "source", "uri", "root")}
        settings = json.loads(metadata[f"{PREFIX}settings"])
    except KeyError as error:
        raise CorpusError(
            f"{claim_name(number)} is not a claim: its footer lacks {error}"
        ) from error
    return Origin(**values, settings=settings)
