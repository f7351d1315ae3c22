import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from nucleus_data.stages.dedup import search
from nucleus_data.stages.dedup.blocks import bit_shares
from nucleus_data.stages.dedup.codes import popcount
from nucleus_data.stages.dedup.search import Layout, near_pairs, pairs_of_block


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


@pytest.mark.slow
def test_finds_exactly_what_brute_force_finds_among_5000():
    codes = planted_codes(99, 5_000)
    expected = brute_force(codes, 4)
    assert len(expected) > 1_000
    assert as_list(near_pairs(codes)) == expected


@pytest.mark.slow
def test_finds_exactly_what_brute_force_finds_among_50000():
    """Every distance, with planted neighbours, chains, and 2,000 codes that differ in 16 bits."""
    rng = np.random.default_rng(11)
    hot = rng.permutation(1 << 16)[:2_000].astype(np.uint64) << np.uint64(24)
    planted = planted_codes(11, 70_000)
    spread = planted[planted >> np.uint64(34) != 0]  # without those that vary in 14 bits only
    codes = np.concatenate([spread[:48_000], hot])
    codes = rng.permutation(np.unique(codes))
    first, second, apart = compiled_brute_force(codes, 8, np.empty((5_000_000, 3), np.int32)).T
    for distance in range(9):
        near = apart <= distance
        found = near_pairs(codes, distance)
        for ours, theirs in zip(found, (first, second, apart), strict=True):
            np.testing.assert_array_equal(ours, theirs[near])
    assert len(first) > 100_000


@njit
def compiled_brute_force(codes, distance, out):
    """All near pairs and their distances, in order, by two loops; bits counted one by one."""
    count = 0
    for i in range(len(codes)):
        for j in range(i + 1, len(codes)):
            difference = codes[i] ^ codes[j]
            apart = 0
            while difference != 0 and apart <= distance:
                difference &= difference - np.uint64(1)
                apart += 1
            if apart <= distance:
                if count == len(out):  # numba can't compile pytest's assert
                    raise ValueError
                out[count, 0], out[count, 1], out[count, 2] = i, j, apart
                count += 1
    return out[:count]


near_zero = st.sets(st.integers(0, 63), max_size=6).map(lambda bits: sum(1 << bit for bit in bits))


@pytest.mark.slow
@settings(max_examples=60)
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


@pytest.mark.slow
@pytest.mark.parametrize("agreeing", range(1, 5))
@pytest.mark.parametrize("distance", [1, 4, 8])
def test_any_number_of_blocks_that_must_agree_finds_the_same(distance, agreeing, monkeypatch):
    """Groups are split to the end, and what is left of the room for pairs is used up."""
    monkeypatch.setattr(search, "blocks_to_agree", lambda *given: agreeing)
    codes = planted_codes(distance, 1_500)
    codes[:500] >>= np.uint64(50)  # many agree in many bits
    codes = np.unique(codes)
    assert as_list(near_pairs(codes, distance)) == brute_force(codes, distance)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distance", "count"),
    [
        pytest.param(1, 26_000, marks=pytest.mark.slow),
        pytest.param(2, 26_000, marks=pytest.mark.slow),
        (4, 3_000),
    ],
)
def test_a_hot_key_is_refined_without_loss(distance, count, monkeypatch):
    refined = []
    whole = search._refined
    monkeypatch.setattr(
        search, "_refined", lambda group, *more: refined.append(len(group)) or whole(group, *more)
    )
    monkeypatch.setattr(search, "blocks_to_agree", lambda *given: 1)
    monkeypatch.setattr(search, "HOT", 128)
    # Fifteen bits vary, so hundreds of codes share any one block.
    codes = np.random.default_rng(1).permutation(1 << 15)[:count].astype(np.uint64)
    codes = np.sort(codes) * np.uint64(1 << 40) + np.uint64(77)
    found = near_pairs(codes, distance)
    assert min(refined) > search.HOT
    assert len(refined) > 1
    one, other = (codes[places] >> np.uint64(40) for places in found[:2])
    assert (popcount(one ^ other) == found[2]).all()
    assert len(found[0]) == near_among_bits(codes >> np.uint64(40), 15, distance)


def near_among_bits(values, bits, distance):
    """How many pairs of distinct values are near, counted by flipping bits."""
    there = np.zeros(1 << bits, bool)
    there[values.astype(np.int64)] = True
    flips = [f for f in range(1, 1 << bits) if f.bit_count() <= distance]
    return sum(int(there[values.astype(np.int64) ^ flip].sum()) for flip in flips) // 2


@pytest.mark.slow
def test_the_threads_change_nothing():
    codes = planted_codes(3, 4_000)
    assert as_list(near_pairs(codes, 4, threads=1)) == as_list(near_pairs(codes, 4, threads=5))


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


@pytest.mark.parametrize("turns", [1 << 25, 300])
def test_the_parts_of_a_block_can_be_searched_apart(turns, monkeypatch):
    """Codes spread over files by a block's value give, file by file, each pair once."""
    monkeypatch.setattr(search, "AT_ONCE", turns)
    codes = planted_codes(3, 2_000)
    layout = Layout.chosen(bit_shares(codes), len(codes), 4)
    found = []
    for block in layout.first_blocks:
        part = layout.values(codes, block) % 3
        for number in range(3):
            places = np.flatnonzero(part == number)
            for first, second, apart in pairs_of_block(codes[places], layout, block):
                found += as_list((places[first], places[second], apart))
    assert sorted(found) == brute_force(codes, 4)
