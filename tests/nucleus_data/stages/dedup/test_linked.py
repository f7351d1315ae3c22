"""Components that tasks find on files, against union in memory."""

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import PAIRS_SCHEMA, Table
from nucleus_data.stages.dedup.linked import Cut, find_components, pieces_of
from nucleus_data.stages.dedup.partitioned import write_pairs
from nucleus_data.stages.dedup.walk import components
from tests.support.phases import inline
from tests.support.quick import quick

ROWS = 4  # of a shard
FOREIGN = 10**6  # numbers of records of another corpus begin here


def cut_of(folder, pairs, parts, *, foreign):
    """Pairs of records, by number, as a table that is cut."""
    corpus = Corpus(str(folder), create=True)
    rows = [
        (one // ROWS, one % ROWS, f"{one:032x}")
        + ((None, None) if other >= FOREIGN else (other // ROWS, other % ROWS))
        + (f"{other:032x}", 0, 0, 0.0, False)
        for one, other in sorted(pairs)
    ]
    columns = zip(PAIRS_SCHEMA, zip(*rows, strict=True), strict=True)
    table = pa.table([pa.array(v, field.type) for field, v in columns], schema=PAIRS_SCHEMA)
    write_pairs(Table(corpus.store, "dedup", "d"), table)
    pieces = pieces_of([[shard] for shard in range(30)], parts)
    return Cut(corpus.uri, {}, "d", pieces, parts, "work", foreign=foreign)


@pytest.mark.slow
@pytest.mark.parametrize("foreign", [True, False])
@pytest.mark.parametrize("parts", quick([1, 4, 10], [4]))
def test_labels_are_those_of_a_union(tmp_path, parts, foreign):
    rng = np.random.default_rng(parts)
    ends = np.sort(rng.choice(30 * ROWS, (60, 2)), axis=1)
    pairs = {(int(a), int(b)) for a, b in ends if a != b}
    others = {(int(n), FOREIGN + int(n) % 3) for n in rng.choice(30 * ROWS, 10)}
    cut = cut_of(tmp_path, pairs | others, parts, foreign=foreign)
    assert find_components(cut, inline)
    used = pairs | others if foreign else pairs
    names, at = np.unique(np.array(sorted(used)), return_inverse=True)
    first, second = at.reshape(-1, 2).T
    expected = names[components(len(names), first, second)]
    known = names < FOREIGN
    store = cut.corpus().store
    found = {}
    for piece, shards in enumerate(cut.pieces):
        for place, named in cut.labels(store, piece).tolist():
            assert place >> 32 in shards
            record, group = ((p >> 32) * ROWS + (p & 0xFFFFFFFF) for p in (place, named))
            found[record] = group
    assert found == dict(zip(names[known].tolist(), expected[known].tolist(), strict=True))
    # The edges are removed.
    folders = [name for name in store.list(cut.folder) if name not in ("done", "labels")]
    assert not any(store.list(f"{cut.folder}/{name}") for name in folders)


def test_components_are_not_found_where_tasks_fail(tmp_path):
    cut = cut_of(tmp_path, {(0, 5), (9, 13)}, 2, foreign=True)
    (tmp_path / "tables/dedup/d/000002-0.parquet").write_bytes(b"no Parquet")
    assert not find_components(cut, inline)


def test_groups_of_shards_are_put_together():
    groups = [[0, 1], [2], [3, 4], [7]]
    assert pieces_of(groups, 2) == [[0, 1, 2], [3, 4, 7]]
    assert pieces_of(groups, 3) == groups
    assert pieces_of(groups, 9) == groups
    assert pieces_of([], 2) == []
