"""Finds confirmed pairs of records: each step is a function on rows (`rows`); classes become stars.

The package's docstring says how to read the pairs. Records without hashes (their image failed) are
compared only by their bytes. Two records with the same bytes are one picture, whatever was measured
of them.

`find_duplicates` does all steps in memory; `partitioned` does the same steps on files, partition by
partition: records by their bytes, pictures by their pHash, leaders by a block of the pHash.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.errors import RequestError
from nucleus_data.stages.dedup.classes import Members, first_of_runs, runs_of
from nucleus_data.stages.dedup.codes import Distances, Indices
from nucleus_data.stages.dedup.confirm import aspect_difference, rounded_aspect
from nucleus_data.stages.dedup.groups import Groups, group_equal
from nucleus_data.stages.dedup.rows import (
    EDGE,
    Rows,
    corpus_of,
    pairs_table,
    pictures_of,
    records_of,
)
from nucleus_data.stages.dedup.search import iterate_near_pairs
from nucleus_data.stages.dedup.settings import DedupSettings

CodePairs = Iterable[tuple[Indices, Indices, Distances]]

# Pairs that a process holds, for each of `partition_records`: by default 32 million. But no fewer
# than a million, which fit anywhere.
PAIRS_A_RECORD = 16
FEWEST_PAIRS = 1 << 20
PAIR_BYTES = 225  # of memory at the peak, measured at 18 million pairs
LOOKED_AT = 1 << 20  # pairs among which the record with the most is looked for


def find_duplicates(
    table: pa.Table, settings: DedupSettings | None = None, others: Iterable[pa.Table] = ()
) -> pa.Table:
    """Finds all near duplicates among the records, in memory.

    Time and memory grow with the records and the pairs of classes found. Only K *different* classes
    under one pHash (with other 256-bit hashes or shapes) cost K^2 comparisons of some nanoseconds,
    still in bounded memory. Under one 256-bit hash there are at most some thousand classes, since
    shapes are rounded.

    Args:
        table: `shard`, `row`, `id`, `sha256`, `phash` (uint64), `hash256` (32 bytes), `width`,
            `height` of every record, in any order; other columns are ignored. `sha256` and the
            measured columns may be null.
        settings: What counts as near; the defaults if None.
        others: Tables of other corpora, in the order of `settings.against`. Pairs of which both
            records are from other corpora are left out.

    Returns:
        A table with the schema `PAIRS`, each pair once, (shard, row) before (other_shard,
        other_row), sorted by both. For a record of another corpus, these two are null, and its id
        has the corpus's name before it. Rows with `exact`, or with all differences zero, connect
        the members of a class; see the package's docstring.

    Raises:
        ValueError: A table lacks a column, or has values that no record can have
            (`rows.records_of`).
    """
    settings = settings or DedupSettings()
    tables = enumerate([table, *others])
    records = [records_of(source, number) for number, source in tables]
    return find_pairs(np.concatenate(records), settings)[0]


def find_pairs(records: Rows, settings: DedupSettings) -> tuple[pa.Table, Counter[str]]:
    """Finds all near duplicates among `RECORD` rows, which must be sorted by place.

    Returns:
        The pairs, and counts: `pairs`, `exact` (pairs of equal files), and `candidates` (pairs of
        different pictures whose pHashes are near, confirmed or not).

    Raises:
        RequestError: There are more pairs than a process can hold (`collected`).
    """
    counts: Counter[str] = Counter()
    exact, pictures = by_bytes(records)
    links, leaders = by_class(pictures)
    groups = group_equal(leaders["phash"])
    equal = equal_codes(leaders, groups, settings, counts)
    codes = iterate_near_pairs(groups.codes, settings.distance)
    near = confirmed(leaders, groups, codes, settings, counts)
    joined = collected(chain([exact, links], equal, near), settings)
    pairs = pairs_table(joined, tuple(settings.against))
    counts.update(pairs=pairs.num_rows, exact=len(exact))
    return pairs, counts


def by_bytes(records: Rows) -> tuple[Rows, Rows]:
    """Links records with the same bytes.

    Args:
        records: `RECORD` rows, ordered by place; for each file all records with its bytes.

    Returns:
        `EDGE` rows that join each record to the first measured one with its bytes (or to the first
        one, if none was measured); and the measured pictures, one for each file, ordered by place.
    """
    order, starts = runs_of(list(records["sha256"].T))
    first = first_of_runs(order, starts, preferred=records["width"] > 0)
    edges = _links(records, first)
    edges["exact"] = True
    alone = first == np.arange(len(records))
    return edges, pictures_of(records[alone & (records["width"] > 0)])


def by_class(pictures: Rows) -> tuple[Rows, Rows]:
    """Links pictures whose hashes and rounded aspect ratios are all equal.

    Args:
        pictures: `PICTURE` rows, ordered by place; for each pHash all pictures that have it.

    Returns:
        `EDGE` rows that join each picture to the first of its class; and these first ones, the
        leaders, ordered by place.
    """
    shape = rounded_aspect(_size(pictures)).view(np.uint64)
    keys = [pictures["phash"], *pictures["hash256"].T, shape]
    order, starts = runs_of(keys)
    first = first_of_runs(order, starts)
    return _links(pictures, first), pictures[first == np.arange(len(pictures))]


def equal_codes(
    leaders: Rows, groups: Groups, settings: DedupSettings, counts: Counter[str]
) -> Iterator[Rows]:
    """Yields the confirmed pairs of leaders with equal pHashes, like `confirmed`."""
    shared = np.flatnonzero(np.diff(groups.starts) > 1)
    same = (shared, shared, np.zeros(len(shared), dtype=np.int8))
    return confirmed(leaders, groups, [same], settings, counts)


def confirmed(
    leaders: Rows,
    groups: Groups,
    near: CodePairs,
    settings: DedupSettings,
    counts: Counter[str],
) -> Iterator[Rows]:
    """Yields the pairs of leaders that count, of those with near pHashes, as `EDGE` rows.

    Args:
        leaders: `PICTURE` rows that represent their classes.
        groups: The leaders grouped by their pHashes.
        near: Pairs of indices into `groups.codes`, with their distances in bits.
        settings: What counts as near.
        counts: Receives `candidates`, the number of pairs that were compared.
    """
    members = Members(groups, leaders["hash256"])
    for one, other, distance in near:
        for pairs in members.of_pairs(one, other, settings.hash256_distance):
            counts["candidates"] += pairs.candidates
            first, second = leaders[pairs.one], leaders[pairs.other]
            aspect = aspect_difference(_size(first), _size(second))
            agree = aspect <= settings.aspect_tolerance
            edges = _edges(first[agree], second[agree])
            edges["distance"] = distance[pairs.pair[agree]]
            edges["distance256"] = pairs.distance256[agree]
            edges["aspect_difference"] = aspect[agree]
            yield told(edges)


def collected(parts: Iterable[Rows], settings: DedupSettings) -> Rows:
    """Concatenates `EDGE` rows, unless there are more than a process can hold.

    K near but unequal pictures have up to K^2 / 2 pairs. Without a limit, the process would be
    killed for its memory, and nobody could tell why.

    Raises:
        RequestError: There are more than `PAIRS_A_RECORD` pairs for each of `partition_records`,
            and more than `FEWEST_PAIRS`.
    """
    limit = max(FEWEST_PAIRS, PAIRS_A_RECORD * settings.partition_records)
    kept, count = [np.empty(0, EDGE)], 0
    for part in parts:
        kept.append(part)
        count += len(part)
        if count > limit:
            raise RequestError(_too_many(kept, limit, settings))
    return np.concatenate(kept)


def told(edges: Rows) -> Rows:
    """Returns the edges without those of which both records are from other corpora."""
    return edges[corpus_of(edges["place"]) == 0]


def _too_many(edges: list[Rows], limit: int, settings: DedupSettings) -> str:
    """Returns what to do about too many pairs, with a record that has many of them."""
    last = np.concatenate([rows[-LOOKED_AT:] for rows in edges[-16:]])
    _, first, counts = np.unique(last["place"], return_index=True, return_counts=True)
    ident = last["id"][first[np.argmax(counts)]].tobytes().hex()
    return (
        f"dedup: one process found more than {limit:,} pairs of near duplicates. "
        "Near but unequal copies of a picture are listed pair by pair; one picture with very many "
        f"is that of record {ident}. Lower dedup.distance or dedup.hash256_distance, so that fewer "
        "pictures count as copies. Or raise dedup.partition_records, which is "
        f"{settings.partition_records:,}, if there "
        f"is memory: a process holds {PAIRS_A_RECORD} times as many pairs, {PAIR_BYTES} bytes each"
    )


def _size(rows: Rows) -> NDArray[np.int64]:
    return np.stack([rows["width"], rows["height"]], axis=1).astype(np.int64)


def _links(rows: Rows, first: Indices) -> Rows:
    """Returns edges from each row to its representative, `first`, except from this to itself."""
    linked = np.flatnonzero(first != np.arange(len(rows)))
    return told(_edges(rows[linked], rows[first[linked]]))


def _edges(one: Rows, other: Rows) -> Rows:
    """Returns edges between records, with the lower place first."""
    edges = np.zeros(len(one), EDGE)
    swap = one["place"] > other["place"]
    for name, other_name in (("place", "other"), ("id", "other_id")):
        turned = swap if one[name].ndim == 1 else swap[:, None]
        edges[name] = np.where(turned, other[name], one[name])
        edges[other_name] = np.where(turned, one[name], other[name])
    return edges
