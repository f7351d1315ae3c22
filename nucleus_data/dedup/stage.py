"""`dedup` over a corpus: gathers hashes, finds the pairs, writes them shard-aligned.

The gathered columns take about 130 bytes a record in the driver's memory; that bounds this version
at some hundred million records on one machine.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.compiling import stand_somewhere
from nucleus_data.corpus import Corpus
from nucleus_data.dedup.settings import DedupSettings
from nucleus_data.runner.rows import sample_rows
from nucleus_data.tables import Table

PUBLISHED = "_published.json"


def find_pairs(
    corpus: Corpus,
    tables: Mapping[str, str],
    settings: DedupSettings,
    *,
    limits: Mapping[int, int] | None = None,
    sample: float = 1.0,
) -> dict[str, int]:
    """Finds and commits all pairs, unless they are there.

    Args:
        corpus: The corpus.
        tables: Config hashes of `records`, `inspect.file`, `inspect.hash` and `dedup`.
        settings: What counts as a pair.
        limits: Shard -> number of records, where fewer than all are compared.
        sample: Share of the records that are compared.

    Returns:
        Counts: `records`, `pairs`, `exact` (equal files).
    """
    from nucleus_data.dedup.pairs import find_duplicates  # compiles the search

    stand_somewhere()
    target = Table(corpus.store, "dedup", tables["dedup"])
    marker = f"{target.folder}/{PUBLISHED}"
    try:
        return dict(json.loads(corpus.store.read(marker)))
    except FileNotFoundError:
        pass
    gathered = _gather(corpus, tables, limits, sample)
    pairs = find_duplicates(gathered, settings)
    shards = pairs.column("shard").to_numpy()
    for number in np.unique(shards):
        mine = pairs.filter(pa.array(shards == number))
        _replace_part(target, int(number), mine)
    counts = {
        "records": gathered.num_rows,
        "pairs": pairs.num_rows,
        "exact": int(np.count_nonzero(pairs.column("exact").to_numpy(zero_copy_only=False))),
    }
    corpus.store.create(marker, json.dumps(counts, sort_keys=True).encode())
    return counts


def have_pairs(corpus: Corpus, tables: Mapping[str, str]) -> bool:
    """Whether all pairs of the tables as they are now are there."""
    return corpus.store.exists(f"tables/dedup/{tables['dedup']}/{PUBLISHED}")


def _replace_part(target: Table, shard: int, pairs: pa.Table) -> None:
    """A pair's first row may occur in several pairs, so the part is written as a whole, once."""
    if not len(target.covered(shard)):
        target.append(shard, pairs, {})


def _gather(
    corpus: Corpus,
    tables: Mapping[str, str],
    limits: Mapping[int, int] | None,
    sample: float,
) -> pa.Table:
    """Hashes, sizes and digests of every record that has an image, shard by shard."""
    parts = []
    for shard in corpus.shards():
        records = corpus.records.read(shard, ["shard", "row", "id", "sha256"])
        if records is None:
            continue
        records = sample_rows(records, sample)
        if limits is not None:
            records = records.slice(0, limits.get(shard, 0))
        for name, columns in (
            ("inspect.file", ["width", "height"]),
            ("inspect.hash", ["phash", "hash256"]),
        ):
            table = Table(corpus.store, name, tables[name]).read(shard, ["row", *columns])
            if table is None:
                table = _absent(columns)
            records = records.join(table, "row", join_type="left outer")
        parts.append(records.sort_by("row"))
    if not parts:
        return _absent(["width", "height", "phash", "hash256"], keys=True)
    return pa.concat_tables(parts)


TYPES: dict[str, Any] = {
    "width": pa.int32(),
    "height": pa.int32(),
    "phash": pa.uint64(),
    "hash256": pa.binary(32),
}


def _absent(columns: list[str], *, keys: bool = False) -> pa.Table:
    fields = [pa.field("row", pa.int32()), *(pa.field(c, TYPES[c]) for c in columns)]
    if keys:
        fields = [
            pa.field("shard", pa.int32()),
            *fields,
            pa.field("id", pa.string()),
            pa.field("sha256", pa.string()),
        ]
    return pa.schema(fields).empty_table()
