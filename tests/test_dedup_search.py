import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.dedup import search
from nucleus_data.dedup.search import group_equal, iterate_near_pairs, near_pairs, popcount


def brute_force(codes, distance):
    found = []
    for place in range(len(codes)):
        apart = popcount(codes[place + 1 :] ^ codes[place])
        near = np.flatnonzero(apart <= distance)
        found += [(place, place + 1 + int(k), int(apart[k])) for k in near]
    return found


def as_list(pairs):
    return list(zip(*(column.tolist() for column in pairs), strict=True))


def planted_codes(seed, count):
    """Random codes, codes of few bits, neighbours 1 to 9 bits away, and chains of single steps."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**64, count, dtype=np.uint64)
    part = count // 4
    codes[:part] = rng.integers(0, 2**14, part, dtype=np.uint64) << np.uint64(20)
    for place in range(part, 2 * part):
        bits = rng.choice(64, size=rng.integers(1, 10), replace=False)
        codes[place] = codes[place + part] ^ np.bitwise_or.reduce(
            np.uint64(1) << bits.astype(np.uint64)
        )
    for place in range(count - part // 2, count):
        codes[place] = codes[place - 1] ^ (np.uint64(1) << rng.integers(0, 64, dtype=np.uint64))
    return rng.permutation(np.unique(codes))


@pytest.mark.parametrize("distance", range(9))
def test_finds_exactly_what_brute_force_finds(distance):
    codes = planted_codes(distance, 1_000)
    expected = brute_force(codes, distance)
    assert as_list(near_pairs(codes, distance)) == expected
    assert {apart for *_, apart in expected} == set(range(1, distance + 1))


def test_finds_exactly_what_brute_force_finds_among_5000():
    codes = planted_codes(99, 5_000)
    expected = brute_force(codes, 4)
    assert len(expected) > 1_000
    assert as_list(near_pairs(codes)) == expected


near_zero = st.sets(st.integers(0, 63), max_size=6).map(lambda bits: sum(1 << bit for bit in bits))


@settings(max_examples=60, deadline=None)
@given(
    st.sets(
        near_zero | near_zero.map(lambda code: code ^ (2**64 - 1)) | st.integers(0, 2**64 - 1),
        max_size=60,
    ),
    st.integers(0, 8),
)
def test_every_distance_and_any_codes(codes, distance):
    codes = np.array(list(codes), dtype=np.uint64)
    assert as_list(near_pairs(codes, distance)) == brute_force(codes, distance)


@pytest.mark.parametrize("distance", [1, 2, 4])
@pytest.mark.slow
def test_a_hot_key_is_refined_without_loss(distance, monkeypatch):
    sizes = []
    whole = search._search

    def counted(codes, apart):
        sizes.append(len(codes))
        return whole(codes, apart)

    monkeypatch.setattr(search, "HOT", 4)
    monkeypatch.setattr(search, "_search", counted)
    # Only twelve bits vary, so many codes share any two blocks.
    codes = np.random.default_rng(1).permutation(1 << 12)[:700].astype(np.uint64)
    codes = codes * np.uint64(1 << 40) + np.uint64(77)
    assert as_list(near_pairs(codes, distance)) == brute_force(codes, distance)
    assert len(sizes) > 1


def test_candidates_come_in_bounded_pieces(monkeypatch):
    monkeypatch.setattr(search, "SLICE", 50)
    codes = planted_codes(3, 1_000)
    pieces = list(iterate_near_pairs(codes, 4))
    assert max(len(first) for first, *_ in pieces) <= 50
    found = sorted(pair for piece in pieces for pair in as_list(piece))
    assert found == brute_force(codes, 4)


def test_a_hundred_thousand_codes_do_not_become_all_pairs():
    codes = np.unique(np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64))
    started = time.process_time()
    near_pairs(codes, 4)
    assert time.process_time() - started < 5


def test_the_order_of_the_codes_changes_nothing():
    codes = planted_codes(5, 800)
    order = np.random.default_rng(6).permutation(len(codes))
    back = as_list(near_pairs(codes[order], 4))
    renamed = sorted((*sorted((int(order[a]), int(order[b]))), d) for a, b, d in back)
    assert renamed == as_list(near_pairs(codes, 4))


def test_few_codes():
    for count in (0, 1):
        first, second, apart = near_pairs(np.arange(count, dtype=np.uint64))
        assert (first.dtype, second.dtype, apart.dtype) == (np.int64, np.int64, np.int8)
        assert len(first) == len(second) == len(apart) == 0
    assert as_list(near_pairs(np.array([7, 5], dtype=np.uint64))) == [(0, 1, 1)]


def test_group_equal_restores_the_codes():
    codes = np.array([5, 2, 5, 2**64 - 1, 2], dtype=np.uint64)
    distinct, inverse = group_equal(codes)
    assert distinct.tolist() == [2, 5, 2**64 - 1]
    assert (distinct[inverse] == codes).all()


def test_popcount_for_older_numpy_agrees():
    values = np.random.default_rng(0).integers(0, 2**64, (50, 4), dtype=np.uint64)
    values[0] = [0, 1, 2**64 - 1, 2**63]
    expected = [[int(value).bit_count() for value in row] for row in values]
    assert popcount(values).tolist() == expected
    assert search._popcount_by_table(values).tolist() == expected


@pytest.mark.parametrize(
    ("codes", "distance", "message"),
    [
        (np.array([1, 2, 1], dtype=np.uint64), 4, "group them first with group_equal"),
        (np.array([1, 2], dtype=np.int64), 4, r"must be uint64\[N\], got int64"),
        (np.zeros((2, 2), dtype=np.uint64), 4, r"got uint64 of shape \(2, 2\)"),
        (np.array([1, 2], dtype=np.uint64), 9, "0 to 8, got 9"),
        (np.array([1, 2], dtype=np.uint64), -1, "0 to 8, got -1"),
    ],
)
def test_wrong_input_is_refused(codes, distance, message):
    with pytest.raises(ValueError, match=message):
        near_pairs(codes, distance)
