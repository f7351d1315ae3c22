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

from nucleus_data.stages.dedup.classes import Members, first_of_runs, runs_of
from nucleus_data.stages.dedup.codes import Codes, Distances, Indices
from nucleus_data.stages.dedup.confirm import rounded_aspect, stretch
from nucleus_data.stages.dedup.crowds import thinned
from nucleus_data.stages.dedup.groups import Groups, group_equal
from nucleus_data.stages.dedup.rows import (
    EDGE,
    NEAR,
    Rows,
    corpus_of,
    pairs_table,
    pictures_of,
    records_of,
)
from nucleus_data.stages.dedup.search import Layout, pairs_by_block
from nucleus_data.stages.dedup.settings import DedupSettings

CodePairs = Iterable[tuple[Indices, Indices, Distances]]

COUNTED_AT_ONCE = 1 << 20  # codes whose bits are counted at a time: 64 bytes each


def find_duplicates(
    table: pa.Table, settings: DedupSettings | None = None, others: Iterable[pa.Table] = ()
) -> pa.Table:
    """Finds all near duplicates among the records, in memory.

    Time and memory grow with the records and the pairs of classes found. Only K *different* classes
    under one pHash, or near each other, cost K^2 comparisons of some nanoseconds, still in bounded
    memory, as pairs of crowded classes are not stored (`crowds`).

    Args:
        table: `shard`, `row`, `id`, `sha256`, `phash` (uint64), `hash256` (32 bytes), `width`,
            `height` of every record, in any order; other columns are ignored. `sha256` and the
            measured columns may be null.
        settings: What counts as near; the defaults if None.
        others: Tables of other corpora, in the order of `settings.against`. Pairs of which both
            records are from other corpora are left out.

    Returns:
        A table with the schema `PAIRS`, each pair once, (shard, row) before (other_shard,
        other_row), sorted by both; with `CROWD_FIELDS` if there are crowds. For a record of another
        corpus, `other_shard` and `other_row` are null, and its id has the corpus's name before it.
        Rows with `exact`, or with all differences zero, connect the members of a class; see the
        package's docstring.

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
        The pairs, and counts: `pairs` (rows of the table), `exact` (pairs of equal files),
        `candidates` (pairs of different pictures whose pHashes are near, confirmed or not), and
        `crowded` (members of crowds, by block).

    Raises:
        RequestError: There are more pairs than a process can hold (`crowds.thinned`).
    """
    counts: Counter[str] = Counter()
    exact, pictures = by_bytes(records)
    links, leaders = by_class(pictures)
    groups = group_equal(leaders["phash"])
    confirming = Confirming(leaders, groups, settings, counts)
    near = map(confirming.near, _by_block(groups.codes, settings))
    edges, listed, held = [exact, links], [], 0
    for found in chain([confirming.equal_codes()], near):
        stored, members = thinned(found, leaders, settings, held)
        held += len(stored)
        edges.append(edges_of(leaders, stored))
        listed.append(members)
    crowded = np.concatenate(listed)
    pairs = pairs_table(np.concatenate(edges), tuple(settings.against), crowded)
    counts.update(pairs=pairs.num_rows, exact=len(exact), crowded=len(crowded))
    return pairs, counts


def _by_block(codes: Codes, settings: DedupSettings) -> Iterator[CodePairs]:
    """Yields the pairs of near codes, by block, as a partitioned search finds them."""
    if settings.distance and len(codes) > 1:
        shares = set_bits(codes) / len(codes)
        yield from pairs_by_block(codes, Layout.chosen(shares, len(codes), settings.distance))


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


class Confirming:
    """Confirms pairs of leaders, of those with near pHashes.

    Args:
        leaders: `PICTURE` rows that represent their classes, ordered by place.
        groups: The leaders grouped by their pHashes.
        settings: What counts as near.
        counts: Receives `candidates`, the number of pairs that were compared.
    """

    def __init__(
        self, leaders: Rows, groups: Groups, settings: DedupSettings, counts: Counter[str]
    ) -> None:
        self.groups, self.settings, self.counts = groups, settings, counts
        self.members = Members(groups, leaders["hash256"])
        self.shapes = rounded_aspect(_size(leaders))
        self.foreign = corpus_of(leaders["place"]) > 0

    def equal_codes(self) -> Iterator[Rows]:
        """Yields the confirmed pairs of leaders with equal pHashes, as `NEAR` rows."""
        shared = np.flatnonzero(np.diff(self.groups.starts) > 1)
        return self.near([(shared, shared, np.zeros(len(shared), dtype=np.int8))])

    def near(self, candidates: CodePairs) -> Iterator[Rows]:
        """Yields the pairs of leaders that count, as `NEAR` rows.

        Pairs of which both records are from other corpora are left out.

        Args:
            candidates: Pairs of indices into `groups.codes`, with their distances in bits.
        """
        for one, other, distance in candidates:
            for pairs in self.members.of_pairs(one, other, self.settings.hash256_distance):
                self.counts["candidates"] += pairs.candidates
                aspect = stretch(self.shapes[pairs.one], self.shapes[pairs.other])
                agree = aspect <= self.settings.aspect_tolerance
                agree &= ~(self.foreign[pairs.one] & self.foreign[pairs.other])
                found = np.empty(np.count_nonzero(agree), NEAR)
                found["one"] = np.minimum(pairs.one, pairs.other)[agree]
                found["other"] = np.maximum(pairs.one, pairs.other)[agree]
                found["distance"] = distance[pairs.pair[agree]]
                found["distance256"] = pairs.distance256[agree]
                found["aspect_difference"] = aspect[agree]
                yield found


def edges_of(leaders: Rows, near: Rows) -> Rows:
    """Converts `NEAR` rows to `EDGE` rows.

    Args:
        leaders: `PICTURE` rows, ordered by place.
        near: Pairs of their indices.
    """
    edges = np.zeros(len(near), EDGE)
    for name in ("distance", "distance256", "aspect_difference"):
        edges[name] = near[name]
    for name in ("place", "id"):
        edges[name] = leaders[name][near["one"]]
        edges["other" if name == "place" else "other_id"] = leaders[name][near["other"]]
    return edges


def set_bits(codes: Codes) -> NDArray[np.int64]:
    """Counts the codes in which each bit is set, int64[64]."""
    counts = np.zeros(64, np.int64)
    for at in range(0, len(codes), COUNTED_AT_ONCE):
        octets = codes[at : at + COUNTED_AT_ONCE].astype(">u8").view(np.uint8).reshape(-1, 8)
        counts += np.unpackbits(octets, axis=1).sum(0, dtype=np.int64)[::-1]
    return counts


def told(edges: Rows) -> Rows:
    """Returns the edges without those of which both records are from other corpora."""
    return edges[corpus_of(edges["place"]) == 0]


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
