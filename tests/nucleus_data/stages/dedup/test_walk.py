import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.stages.dedup.pairs import find_duplicates
from nucleus_data.stages.dedup.rows import PAIRS
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.dedup.walk import survivors, walk
from tests.support.clustered import clustered_table, true_pairs


def naive_walk(ids, eligible, rank, neighbours):
    """The walk as its definition says it, over all pairs: id -> id of the best kept duplicate."""
    kept, dropped = [], {}
    for place in sorted(np.flatnonzero(eligible), key=lambda place: rank[place]):
        better = [name for name in kept if frozenset((name, ids[place])) in neighbours]
        if better:
            dropped[ids[place]] = better[0]
        else:
            kept.append(ids[place])
    return dropped


def by_id(ids, dropped_for):
    return {one: other for one, other in zip(ids, dropped_for.to_pylist(), strict=True) if other}


def run(edges, count, *, rank=None, eligible=None, same_class=None):
    first, second = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    return survivors(
        np.ones(count, bool) if eligible is None else np.array(eligible, bool),
        np.arange(count) if rank is None else np.array(rank),
        first,
        second,
        np.zeros(len(first), bool) if same_class is None else np.array(same_class, bool),
    ).tolist()


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 70), st.floats(0.2, 1))
def test_the_walk_equals_the_naive_one_over_all_pairs(seed, count, share):
    rng = np.random.default_rng(seed)
    table = clustered_table(seed, count, centres=2)
    eligible, rank = rng.random(count) < share, rng.permutation(count) * 3
    ids = table["id"].to_pylist()
    expected = naive_walk(ids, eligible, rank, true_pairs(table))
    dropped_for = walk(table["id"], eligible, rank, find_duplicates(table))
    assert by_id(ids, dropped_for) == expected


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(0, 50), st.integers(1, 30))
def test_records_of_other_corpora_stay_and_go_before_all(seed, count, others):
    rng = np.random.default_rng(seed)
    both = clustered_table(seed, count + others, centres=2)
    table, other = both.slice(0, count), both.slice(count)
    eligible, rank = rng.random(count) < 0.8, rng.permutation(count)
    ids = table["id"].to_pylist()
    foreign = other["id"].to_pylist()
    neighbours = {pair for pair in true_pairs(both) if not pair <= set(foreign)}
    expected = naive_walk(
        foreign + ids,
        np.append(np.ones(others, bool), eligible),
        np.append(np.arange(-others, 0), rank),
        neighbours,
    )
    settings = DedupSettings(against={"release": "there"})
    dropped = walk(table["id"], eligible, rank, find_duplicates(table, settings, [other]))
    found = {one: name.removeprefix("release:") for one, name in by_id(ids, dropped).items()}
    assert found.keys() == expected.keys()
    for one, name in found.items():
        assert (name in foreign) == (expected[one] in foreign)
        assert name in foreign or name == expected[one]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19), st.booleans()), max_size=40),
    st.permutations(range(20)),
    st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_any_graph_with_classes_equals_its_expansion(edges, rank, eligible):
    group = {place: {place} for place in range(20)}
    for a, b, same in edges:
        if same:
            joined = group[a] | group[b]
            group |= dict.fromkeys(joined, joined)
    links = {frozenset((a, b)) for a in group for b in group[a]}
    for a, b, same in edges:
        if not same:
            links |= {frozenset((p, q)) for p in group[a] for q in group[b]}
    expected = naive_walk(range(20), np.array(eligible), rank, links)
    dropped_for = run(
        [edge[:2] for edge in edges],
        20,
        rank=rank,
        eligible=eligible,
        same_class=[e[2] for e in edges],
    )
    assert {a: b for a, b in enumerate(dropped_for) if b >= 0} == expected


def test_a_chain_loses_every_second_one():
    assert run([(0, 1), (1, 2), (2, 3)], 4) == [-1, 0, -1, 2]


def test_the_best_of_a_chain_decides():
    assert run([(0, 1), (1, 2)], 3, rank=[5, 1, 7]) == [1, -1, 1]


def test_an_ineligible_record_displaces_nothing_and_is_not_marked():
    assert run([(0, 1), (1, 2)], 3, eligible=[True, False, True], rank=[1, 0, 2]) == [-1, -1, -1]
    assert run([(0, 1)], 2, eligible=[True, False]) == [-1, -1]


def test_an_ineligible_member_still_joins_its_class():
    # 1 stands for the class of 0 and 2, and is rejected.
    dropped = run([(0, 1), (1, 2)], 3, eligible=[True, False, True], same_class=[True, True])
    assert dropped == [-1, -1, 0]


def test_a_near_pair_of_ineligible_representatives_joins_their_classes():
    dropped = run(
        [(0, 1), (1, 2), (2, 3)],
        4,
        eligible=[True, False, False, True],
        rank=[2, 0, 1, 1],
        same_class=[True, False, True],
    )
    assert dropped == [3, -1, -1, -1]


def test_the_best_kept_duplicate_is_named():
    assert run([(0, 2), (1, 2)], 3, rank=[2, 1, 3]) == [-1, -1, 1]


def test_the_order_of_records_and_pairs_changes_nothing():
    table = clustered_table(8, 120)
    pairs = find_duplicates(table)
    rng = np.random.default_rng(9)
    eligible, rank = rng.random(120) < 0.8, rng.permutation(120)
    expected = by_id(table["id"].to_pylist(), walk(table["id"], eligible, rank, pairs))
    assert len(expected) > 20
    order = rng.permutation(120)
    ids = table["id"].take(order)
    shuffled = walk(ids, eligible[order], rank[order], pairs.take(rng.permutation(pairs.num_rows)))
    assert by_id(ids.to_pylist(), shuffled) == expected


def test_records_that_only_the_pairs_name_still_connect():
    table = clustered_table(8, 60)
    pairs = find_duplicates(table)
    known = np.random.default_rng(1).random(60) < 0.5
    whole = walk(table["id"], known, np.arange(60), pairs)
    part = walk(
        table["id"].filter(pa.array(known)),
        np.ones(known.sum(), bool),
        np.arange(known.sum()),
        pairs,
    )
    ids = table["id"].to_pylist()
    assert by_id(ids, whole) == by_id([ids[place] for place in np.flatnonzero(known)], part)
    assert part.null_count < len(part)


@pytest.mark.slow
def test_a_class_of_a_million_is_one_step():
    count = 1_000_000
    centre = 777_777
    others = np.delete(np.arange(count), centre)
    started = time.process_time()
    dropped = survivors(
        np.arange(count) != centre,
        np.arange(count)[::-1].copy(),
        np.minimum(others, centre),
        np.maximum(others, centre),
        np.ones(count - 1, bool),
    )
    assert time.process_time() - started < 5
    assert dropped[[0, centre, count - 1]].tolist() == [count - 1, -1, -1]
    assert (dropped == count - 1).sum() == count - 2


def test_no_pairs_keep_all():
    ids = pa.chunked_array([["a", "b"]])
    assert walk(ids, np.ones(2, bool), np.arange(2), PAIRS.empty_table()).to_pylist() == [None] * 2
    assert walk(ids.slice(2), np.ones(0, bool), np.arange(0), PAIRS.empty_table()).to_pylist() == []


def test_wrong_input_is_refused():
    ids = pa.chunked_array([["a", "b"]])
    pairs = PAIRS.empty_table()
    with pytest.raises(ValueError, match="same rank"):
        walk(ids, np.ones(2, bool), np.zeros(2, np.int64), pairs)
    with pytest.raises(ValueError, match="distinct"):
        walk(pa.chunked_array([["a", "a"]]), np.ones(2, bool), np.arange(2), pairs)
    with pytest.raises(ValueError, match="one length, got 2, 1 and 2"):
        walk(ids, np.ones(1, bool), np.arange(2), pairs)
