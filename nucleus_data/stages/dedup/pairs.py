"""From records to confirmed pairs: every step a function over rows (`rows`), classes as stars.

The package's docstring says how to read the pairs. Records without hashes (their image failed) take
part only by their bytes. Two records with the same bytes are one picture, whatever was measured.

`find_duplicates` does the steps one after the other in memory; `partitioned` does the same steps on
files, each part by itself: records by their bytes, pictures by their pHash, leaders by a block of
it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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


def find_duplicates(
    table: pa.Table, settings: DedupSettings | None = None, others: Iterable[pa.Table] = ()
) -> pa.Table:
    """Finds all near duplicates among the records, in memory.

    Time and memory grow with the records and the pairs of classes found. Only K *different* classes
    under one pHash (other 256-bit hashes or shapes) cost K^2 comparisons of some nanoseconds, still
    in bounded memory; of one 256-bit hash there are at most some thousand, as shapes are rounded.

    Args:
        table: `shard`, `row`, `id`, `sha256`, `phash` (uint64), `hash256` (32 bytes), `width`,
            `height` of every record, in any order; other columns are ignored. `sha256` and the
            measured columns may be null.
        settings: What counts as near; the defaults if None.
        others: Tables of other corpora, in the order of `settings.against`; pairs of two of their
            records are not told.

    Returns:
        A table with the schema `PAIRS`, each pair once, (shard, row) before (other_shard,
        other_row), sorted by both; of a record of another corpus these two are null, and its id has
        the corpus's name before it. Rows with `exact`, or with all differences zero, connect the
        members of a class; see the package's docstring.

    Raises:
        ValueError: A table lacks a column, or holds what no record can have (`rows.records_of`).
    """
    settings = settings or DedupSettings()
    tables = enumerate([table, *others])
    records = [records_of(each, number) for number, each in tables]
    return find_pairs(np.concatenate(records), settings)[0]


def find_pairs(records: Rows, settings: DedupSettings) -> tuple[pa.Table, Counter[str]]:
    """Finds all near duplicates among `RECORD` rows, which are sorted by place.

    Returns:
        The pairs; and counts: `pairs`, `exact` (of equal files), and `candidates`, the pairs of
        different pictures whose pHashes are near, whether or not they count.
    """
    counts: Counter[str] = Counter()
    exact, pictures = by_bytes(records)
    links, leaders = by_class(pictures)
    groups = group_equal(leaders["phash"])
    edges = [exact, links, *equal_codes(leaders, groups, settings, counts)]
    near = iterate_near_pairs(groups.codes, settings.distance)
    edges += confirmed(leaders, groups, near, settings, counts)
    joined = np.concatenate(edges)
    edges.clear()  # of very many pairs most of the memory
    pairs = pairs_table(joined, tuple(settings.against))
    counts.update(pairs=pairs.num_rows, exact=len(exact))
    return pairs, counts


def by_bytes(records: Rows) -> tuple[Rows, Rows]:
    """Links records of the same bytes.

    Args:
        records: `RECORD` rows by place, all that have these bytes.

    Returns:
        `EDGE` rows, each record joined to the first measured one with its bytes (the first one, if
        none was measured); and the pictures, one for the same bytes, measured, by place.
    """
    order, starts = runs_of(list(records["sha256"].T))
    first = first_of_runs(order, starts, preferred=records["width"] > 0)
    edges = _links(records, first)
    edges["exact"] = True
    alone = first == np.arange(len(records))
    return edges, pictures_of(records[alone & (records["width"] > 0)])


def by_class(pictures: Rows) -> tuple[Rows, Rows]:
    """Links pictures that are equal in all that is compared.

    Args:
        pictures: `PICTURE` rows by place, all that have these pHashes.

    Returns:
        `EDGE` rows, each picture joined to the first of its class; and those first ones, the
        leaders, by place.
    """
    shape = rounded_aspect(_size(pictures)).view(np.uint64)
    keys = [pictures["phash"], *pictures["hash256"].T, shape]
    order, starts = runs_of(keys)
    first = first_of_runs(order, starts)
    return _links(pictures, first), pictures[first == np.arange(len(pictures))]


def equal_codes(
    leaders: Rows, groups: Groups, settings: DedupSettings, counts: Counter[str]
) -> Iterator[Rows]:
    """Confirmed pairs of leaders with one pHash, as `confirmed` gives them."""
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
    """Those pairs of leaders that count, among those whose pHashes are near, as `EDGE` rows.

    Args:
        leaders: `PICTURE` rows that stand for their classes.
        groups: The leaders grouped by their pHashes.
        near: Pairs of places in `groups.codes`, with their distances in bits.
        settings: What counts as near.
        counts: Gets `candidates`, how many pairs were looked at.
    """
    members = Members(groups, leaders["hash256"])
    for one, other, distance in near:
        for found in members.of_pairs(one, other, settings.hash256_distance):
            counts["candidates"] += found.candidates
            first, second = leaders[found.one], leaders[found.other]
            aspect = aspect_difference(_size(first), _size(second))
            agree = aspect <= settings.aspect_tolerance
            edges = _edges(first[agree], second[agree])
            edges["distance"] = distance[found.pair[agree]]
            edges["distance256"] = found.distance256[agree]
            edges["aspect_difference"] = aspect[agree]
            yield told(edges)


def told(edges: Rows) -> Rows:
    """Edges without those of two records of other corpora."""
    return edges[corpus_of(edges["place"]) == 0]


def _size(rows: Rows) -> NDArray[np.int64]:
    return np.stack([rows["width"], rows["height"]], axis=1).astype(np.int64)


def _links(rows: Rows, first: Indices) -> Rows:
    """Joins rows to the one that stands for them, itself left out."""
    linked = np.flatnonzero(first != np.arange(len(rows)))
    return told(_edges(rows[linked], rows[first[linked]]))


def _edges(one: Rows, other: Rows) -> Rows:
    """Edges of two records each, the lower place first."""
    edges = np.zeros(len(one), EDGE)
    swap = one["place"] > other["place"]
    for name, other_name in (("place", "other"), ("id", "other_id")):
        turned = swap if one[name].ndim == 1 else swap[:, None]
        edges[name] = np.where(turned, other[name], one[name])
        edges[other_name] = np.where(turned, one[name], other[name])
    return edges
