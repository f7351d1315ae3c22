"""Claims: which upstream rows an image shard is made of, with everything needed to build it.

`claims/000017.parquet` is created if no object has that name, so each number belongs to one ingest,
whoever else is at work. Its columns: row, id, source, then `spool.LOCATION` and `source.NAME`;
its footer: kind, source (name), uri, root and the settings that building needs. Credentials
(`storage_options`) are never stored. A claim of a retry also has `retry_shard` and `retry_row`: the
place of the failed record that each of its rows is to stand for.
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
# Whole claims are held where they are read, so fewer are read at once than else.
CLAIMS_AT_ONCE = 16
# What an ingest of the same source compares with what is listed now.
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
    """Where a claim's rows come from: what its footer says.

    Attributes:
        kind: folder, tars, img2dataset or urls.
        source: The source's name.
        uri: The source as the person gave it, made absolute.
        root: The folder that paths in the claim are relative to.
        settings: `IngestSettings.for_claim()`.
    """

    kind: str
    source: str
    uri: str
    root: str
    settings: Mapping[str, Any]

    def footer(self) -> dict[str, str]:
        """As text, for a Parquet footer."""
        return {
            "kind": self.kind,
            "source": self.source,
            "uri": self.uri,
            "root": self.root,
            "settings": json.dumps(self.settings, sort_keys=True),
        }


@dataclass(frozen=True)
class Claim:
    """A claim that was read: its number, its origin and its rows in order."""

    number: int
    origin: Origin
    rows: pa.Table


def claim_name(number: int) -> str:
    """Path of a claim below the corpus."""
    return f"{FOLDER}/{number:06d}.parquet"


def claim_numbers(store: Store) -> list[int]:
    """Numbers of all claims, ascending."""
    names = [name.removesuffix(".parquet") for name in store.list(FOLDER)]
    return sorted(int(name) for name in names if name.isdigit())


def read_claim(corpus: Corpus, number: int) -> Claim:
    """Reads a claim.

    Raises:
        CorpusError: There is none of that number, or it is no claim.
    """
    name = claim_name(number)
    try:
        data = read_whole(corpus.store, name)
    except FileNotFoundError:
        raise CorpusError(f"{name} is missing in {corpus.uri}") from None
    with reading(corpus.store, name):
        rows = pq.read_table(pa.BufferReader(data))
        return Claim(
            number, _origin(number, rows.schema.metadata), rows.replace_schema_metadata(None)
        )


def read_origin(corpus: Corpus, number: int) -> Origin:
    """Reads where a claim's rows come from, without the rows."""
    name = claim_name(number)
    metadata = read_ending(corpus.store, name)
    with reading(corpus.store, name):
        return _origin(number, metadata.metadata)


def read_origins(corpus: Corpus, numbers: Iterable[int]) -> Iterator[tuple[int, Origin]]:
    """The numbers of claims, each with its origin, in their order; many are read at once."""
    yield from at_once(corpus.store, lambda n: (n, read_origin(corpus, n)), numbers)


def claimed_rows(corpus: Corpus, number: int, time: float | None) -> pa.Table:
    """The rows of a claim as `CLAIMED_SCHEMA`; columns that it lacks are null.

    Args:
        corpus: The corpus.
        number: The claim's number.
        time: When it was written (`claim_times`).
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
    """When each claim was written, in seconds, where the store tells it: one listing."""
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
    """Shard and row of the failed records that a claim tries again; empty if it is no retry."""
    name = claim_name(number)
    metadata = read_ending(corpus.store, name)
    if RETRY_SHARD not in metadata.schema.names:
        return []
    data = read_whole(corpus.store, name)
    with reading(corpus.store, name):
        places = pq.ParquetFile(pa.BufferReader(data)).read(columns=[RETRY_SHARD, RETRY_ROW])
        return list(zip(*(column.to_pylist() for column in places.columns), strict=True))


def create_claim(corpus: Corpus, number: int, rows: pa.Table, origin: Origin) -> bool:
    """Claims a shard number for some rows.

    Args:
        corpus: The corpus.
        number: The number to try. If it is taken, nothing is written.
        rows: `id`, `source`, LOCATION and `source.NAME` columns.
        origin: Where they come from.

    Returns:
        Whether the claim is there; False if the number is another's. (Two ingests that claim the
        very same rows under the same number share the claim.)
    """
    places = pa.array(range(rows.num_rows), pa.int32())
    numbered = rows.add_column(0, pa.field("row", pa.int32(), nullable=False), places)
    data = encode_part(numbered, origin.footer())
    return corpus.store.create(claim_name(number), data)


def chunks(path: Path, most_rows: int, most_bytes: int) -> Iterator[pa.Table]:
    """Cuts rows into shards: at most so many rows and, but for a single image, so many bytes."""
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
    """Where the first shard ends, if it is known to end within these rows."""
    sizes = rows["size"].fill_null(0).to_numpy()
    fits = int(np.searchsorted(np.cumsum(sizes), most_bytes, side="right"))
    cut = max(1, min(fits, most_rows))
    return cut if cut < len(rows) or (cut == most_rows and cut == len(rows)) else None


def _origin(number: int, keys: Mapping[bytes, bytes] | None) -> Origin:
    """What a claim's footer says. Raises CorpusError if it is no claim."""
    metadata = {key.decode(): value.decode() for key, value in (keys or {}).items()}
    try:
        values = {name: metadata[f"{PREFIX}{name}"] for name in ("kind", "source", "uri", "root")}
        settings = json.loads(metadata[f"{PREFIX}settings"])
    except KeyError as error:
        raise CorpusError(f"{claim_name(number)} is no claim: its footer lacks {error}") from error
    return Origin(**values, settings=settings)
