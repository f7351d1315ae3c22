"""Crowds: what is decided without the pairs of crowded pictures is what is decided with them."""

from contextlib import contextmanager
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.corpus.tables import CROWDED_PAIRS_SCHEMA, PAIRS_SCHEMA
from nucleus_data.stages.dedup import crowds
from nucleus_data.stages.dedup.pairs import find_duplicates
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.dedup.stage import compare
from nucleus_data.stages.dedup.walk import walk
from nucleus_data.views.copies import DisjointSets
from tests.nucleus_data.stages.dedup.test_partitioned import inline, write_corpus
from tests.support.clustered import clustered_table, source
from tests.support.curated import table as rows_of
from tests.support.quick import quick

RELEASE = DedupSettings(against={"release": "there"})


@contextmanager
def crowded_from(pairs, at_once=crowds.AT_ONCE):
    with mock.patch.multiple(crowds, CROWD=pairs, AT_ONCE=at_once):
        yield


def all_pairs(rows, wanted=None, others=()):
    with crowded_from(10**9):
        return find_duplicates(rows, wanted, others)


def is_listed(pairs):
    return pairs.filter(pairs["distance"].is_null())


def decided(rows, pairs, seed, wanted=None):
    rng = np.random.default_rng(seed)
    eligible, rank = rng.random(len(rows)) < 0.8, rng.permutation(len(rows)) * 3
    return walk(rows["id"], eligible, rank, pairs, wanted).to_pylist()


def clusters(pairs):
    sets = DisjointSets()
    for one, other in zip(pairs["id"].to_pylist(), pairs["other_id"].to_pylist(), strict=True):
        sets.union(one, other)
    return {ident: sets.find(ident) for ident in sets.members()}


def nearly_all_near(count, seed=0):
    """Pictures that differ from one in one or two bits of both hashes, so that all are near."""
    rng = np.random.default_rng(seed)
    base = int(rng.integers(2**62))
    bits = [(a, b) for a in range(60) for b in range(a)][:count]
    return pa.table(
        {
            "shard": pa.array(np.arange(count) // 50, pa.int32()),
            "row": pa.array(np.arange(count) % 50, pa.int32()),
            "id": [f"{n:032x}" for n in range(count)],
            "sha256": [f"{n:064x}" for n in range(count)],
            "phash": pa.array([base ^ 1 << a ^ 1 << b for a, b in bits], pa.uint64()),
            "hash256": pa.array([bytes([a, b, *[7] * 30]) for a, b in bits], pa.binary(32)),
            "width": pa.array([400] * count, pa.int32()),
            "height": pa.array([300] * count, pa.int32()),
        }
    )


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.integers(0, 70), st.sampled_from([0, 1, 4]))
def test_the_walk_is_that_over_all_pairs(seed, count, most):
    rows = clustered_table(seed, count, centres=2)
    expected = decided(rows, all_pairs(rows), seed)
    with crowded_from(most):
        assert decided(rows, find_duplicates(rows), seed) == expected


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.integers(0, 50), st.integers(1, 30))
def test_so_it_is_with_records_of_other_corpora(seed, count, others):
    both = clustered_table(seed, count + others, centres=2)
    rows, other = both.slice(0, count), both.slice(count)
    whole = all_pairs(rows, RELEASE, [other])
    expected = decided(rows, whole, seed)
    with crowded_from(1):
        pairs = find_duplicates(rows, RELEASE, [other])
    assert decided(rows, pairs, seed) == expected
    # Whoever asks which records have a copy in another corpus gets the same answer.
    abroad = (
        found.filter(pc.and_(found["other_shard"].is_null(), found["distance"].is_valid()))
        for found in (pairs, whole)
    )
    some, every = ({*rows["id"].to_pylist()} for rows in abroad)
    assert some == every


@pytest.mark.parametrize("most", quick([2, 0, 10], 1))
def test_what_is_connected_by_pairs_is_connected(most):
    rows = clustered_table(5, 200, centres=3)
    whole = all_pairs(rows)
    with crowded_from(most):
        pairs = find_duplicates(rows)
    assert is_listed(pairs).num_rows > 10
    assert pairs.num_rows - is_listed(pairs).num_rows < whole.num_rows
    assert clusters(pairs) == clusters(whole)


def test_a_crowd_is_listed_in_rows_that_do_not_grow_with_its_square():
    count = 500
    rows = nearly_all_near(count)
    with crowded_from(20, at_once=5_000):
        pairs = find_duplicates(rows)
    assert pairs.schema.equals(CROWDED_PAIRS_SCHEMA)
    assert pairs.num_rows < 20 * count < count**2 / 20  # of two crowded pictures, there is none
    assert clusters(pairs).keys() == {*rows["id"].to_pylist()}
    everything = all_pairs(rows)
    assert everything.num_rows == count * (count - 1) // 2
    for seed in (0, 1):
        found = decided(rows, pairs, seed)
        assert found == decided(rows, everything, seed)
        assert sum(name is not None for name in found) > count / 2


def test_without_crowds_the_table_has_no_more_columns():
    assert find_duplicates(nearly_all_near(20)).schema.equals(PAIRS_SCHEMA)


def test_the_settings_decide_in_crowds_as_elsewhere():
    rows = nearly_all_near(150)
    wanted = DedupSettings(distance=2, hash256_distance=6)
    expected = decided(rows, all_pairs(rows, wanted), 3, wanted)
    with crowded_from(10):
        pairs = find_duplicates(rows, wanted)
    assert is_listed(pairs).num_rows > 20
    assert decided(rows, pairs, 3, wanted) == expected
    assert decided(rows, pairs, 3, DedupSettings(distance=4)) != expected


def test_a_crowd_of_which_nobody_may_stay_drops_nobody():
    rows = nearly_all_near(40)
    with crowded_from(3):
        pairs = find_duplicates(rows)
    nobody = walk(rows["id"], np.zeros(40, bool), np.arange(40), pairs)
    assert nobody.null_count == 40
    one = np.arange(40) == 7
    assert walk(rows["id"], one, np.arange(40), pairs).null_count == 40


@pytest.mark.slow
@pytest.mark.parametrize("records", [40, 90])
def test_files_and_memory_list_the_same(tmp_path, records):
    rows, other = clustered_table(8, 150, centres=2), clustered_table(8, 60, centres=2)
    corpora = [write_corpus(tmp_path / "own", rows), write_corpus(tmp_path / "release", other)]
    sources = [source(corpus, number) for number, corpus in enumerate(corpora)]
    wanted = DedupSettings(partition_records=records, against={"release": corpora[1].uri})
    roomy = wanted.model_copy(update={"partition_records": 1000})
    with crowded_from(3):
        counts = compare(corpora[0], "files", sources, wanted, inline)
        in_memory = compare(corpora[0], "memory", sources, roomy, inline)
        expected = find_duplicates(rows, wanted, [other])
    assert counts == in_memory
    assert counts["crowded"] >= is_listed(expected).num_rows > 10
    assert counts["pairs"] == expected.num_rows
    none = dict.fromkeys(expected.column_names)
    for name in ("files", "memory"):
        found = [{**none, **row} for row in rows_of(corpora[0], "dedup", name)]
        assert found == expected.to_pylist()
