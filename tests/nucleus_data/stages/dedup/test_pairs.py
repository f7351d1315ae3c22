import re
import time
from itertools import combinations, islice

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.errors import RequestError
from nucleus_data.stages.dedup.pairs import find_duplicates
from nucleus_data.stages.dedup.rows import INPUT, PAIRS
from nucleus_data.stages.dedup.settings import DedupSettings
from tests.support.clustered import clustered_table, digest, flip, hash_table, true_pairs

RNG = np.random.default_rng(0)
PHASH = RNG.integers(0, 2, 64).tolist()
HASH256 = RNG.integers(0, 2, 256).tolist()


def read_pairs(pairs):
    """All pairs of ids that a `dedup` table stands for, by the rules in the package's docstring."""
    edges = pairs.to_pylist()
    group = {name: {name} for edge in edges for name in (edge["id"], edge["other_id"])}
    near = []
    for edge in edges:
        differences = (edge["distance"], edge["distance256"], edge["aspect_difference"])
        if edge["exact"] or differences == (0, 0, 0):
            joined = group[edge["id"]] | group[edge["other_id"]]
            for name in joined:
                group[name] = joined
        else:
            near.append(edge)
    found = {
        frozenset((a, b)) for members in group.values() for a in members for b in members if a != b
    }
    for edge in near:
        found |= {frozenset((a, b)) for a in group[edge["id"]] for b in group[edge["other_id"]]}
    return found


def places(pairs):
    return [((a["shard"], a["row"]), (a["other_shard"], a["other_row"])) for a in pairs.to_pylist()]


def copies(count, **columns):
    """`count` records of one picture, all of other bytes."""
    table = hash_table([(0, row, f"{row:064x}", PHASH, HASH256, 640, 480) for row in range(count)])
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(place, INPUT.field(name), pa.array(values, INPUT.field(name).type))
    return table


@pytest.mark.slow
@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 8))
def test_the_table_stands_for_all_pairs_by_the_definition(seed, count, distance):
    table = clustered_table(seed, count)
    chosen = DedupSettings(distance=distance)
    assert read_pairs(find_duplicates(table, chosen)) == true_pairs(table, chosen)


@pytest.mark.slow
def test_planted_copies_among_many():
    table = clustered_table(11, 400, centres=20)
    expected = true_pairs(table)
    assert len(expected) > 1_000
    assert read_pairs(find_duplicates(table)) == expected


def test_the_order_of_the_records_changes_nothing():
    table = clustered_table(4, 150)
    order = np.random.default_rng(5).permutation(len(table))
    assert find_duplicates(table.take(order)).equals(find_duplicates(table))


def test_rows_are_sorted_oriented_and_each_once():
    pairs = find_duplicates(clustered_table(4, 150))
    assert pairs.schema == PAIRS
    rows = places(pairs)
    assert all(first < second for first, second in rows)
    assert rows == sorted(set(rows))
    assert [row["id"] for row in pairs.to_pylist()] == [f"{s:016x}{r:016x}" for (s, r), _ in rows]


def test_values_of_a_near_pair():
    rng = np.random.default_rng(2)
    table = hash_table(
        [
            (3, 1, "b", flip(PHASH, 3, rng), flip(HASH256, 17, rng), 824, 600),
            (0, 8, "a", PHASH, HASH256, 400, 300),
        ]
    )
    (pair,) = find_duplicates(table).to_pylist()
    assert places(find_duplicates(table)) == [((0, 8), (3, 1))]
    assert pair["other_id"] == table["id"][0].as_py()
    assert (pair["distance"], pair["distance256"], pair["exact"]) == (3, 17, False)
    assert pair["aspect_difference"] == pytest.approx(703 / 683 - 1)  # of 1.03, after rounding


def test_a_class_is_a_star_and_copies_of_bytes_are_exact():
    pairs = find_duplicates(copies(4, sha256=[digest(name) for name in "xyxy"]))
    assert places(pairs) == [((0, 0), (0, 1)), ((0, 0), (0, 2)), ((0, 1), (0, 3))]
    assert pairs["exact"].to_pylist() == [False, True, True]
    for name in ("distance", "distance256", "aspect_difference"):
        assert set(pairs[name].to_pylist()) == {0}


def test_equal_phashes_are_no_proof():
    rng = np.random.default_rng(3)
    table = hash_table(
        [
            (0, 0, "a", PHASH, HASH256, 640, 480),
            (0, 1, "b", PHASH, flip(HASH256, 41, rng), 640, 480),
            (0, 2, "c", PHASH, HASH256, 640, 500),
        ]
    )
    assert find_duplicates(table).num_rows == 0


def test_ratios_that_almost_equal_are_one_class():
    pairs = find_duplicates(copies(2, width=[2001, 2000], height=[1000, 1000]))
    assert pairs["aspect_difference"].to_pylist() == [0]


@pytest.mark.slow
def test_flat_pictures_of_any_size_are_not_n_squared():
    count = 6_000
    sides = np.random.default_rng(0).integers(256, 2049, (2, count))
    table = copies(count, width=sides[0].tolist(), height=sides[1].tolist())
    pairs = find_duplicates(table).num_rows
    # 18 million pairs, of which some 2 % agree in their shape: 380,000. They are told by classes.
    assert count < pairs < 50_000


def test_records_without_hashes_take_part_by_their_bytes_alone():
    table = hash_table(
        [
            (0, 0, "x", None, None, None, None),
            (0, 1, "x", PHASH, HASH256, 640, 480),
            (0, 2, "y", None, HASH256, 640, 480),
            (0, 3, None, None, None, None, None),
            (0, 4, None, None, None, None, None),
            (0, 5, "z", PHASH, HASH256, 640, 480),
        ]
    )
    pairs = find_duplicates(table)
    assert places(pairs) == [((0, 0), (0, 1)), ((0, 1), (0, 5))]
    assert pairs["exact"].to_pylist() == [True, False]


def test_nothing_to_compare():
    for count in (0, 1):
        pairs = find_duplicates(copies(count))
        assert pairs.schema == PAIRS
        assert pairs.num_rows == 0


def test_chunked_and_wider_columns_are_read():
    table = copies(6)
    wide = table.set_column(0, "shard", table["shard"].cast(pa.int64())).append_column(
        "extra", pa.nulls(6)
    )
    chunked = pa.concat_tables([wide.slice(4), wide.slice(1, 3), wide.slice(0, 1)])
    assert find_duplicates(chunked).equals(find_duplicates(table))


@pytest.mark.slow
def test_two_hundred_thousand_equal_codes():
    count = 200_000
    picture = copies(1)
    table = pa.table(
        {
            "shard": np.zeros(count, np.int32),
            "row": np.arange(count, dtype=np.int32),
            "id": [f"{row:032x}" for row in range(count)],
            "sha256": [f"{row:064x}" for row in range(count)],
            **{
                name: pa.repeat(picture[name][0], count)
                for name in ("phash", "hash256", "width", "height")
            },
        }
    )
    started = time.process_time()
    pairs = find_duplicates(table)
    assert time.process_time() - started < 5
    assert pairs.num_rows == count - 1
    assert pairs["row"].to_numpy().max() == 0


@pytest.mark.slow
def test_different_pictures_of_one_64_bit_hash_cost_little_each():
    count = 10_000  # 50 million pairs
    rng = np.random.default_rng(3)
    hashes = pa.array([rng.bytes(32) for _ in range(count - 1)], pa.binary(32)).to_pylist()
    table = copies(count, hash256=[*hashes, hashes[17]], phash=[5] * count)
    find_duplicates(table.slice(0, 100))  # compiles
    started = time.process_time()
    pairs = find_duplicates(table)
    assert time.process_time() - started < 5
    assert places(pairs) == [((0, 17), (0, count - 1))]


def test_more_pairs_than_a_process_holds_are_refused(monkeypatch):
    monkeypatch.setattr("nucleus_data.stages.dedup.crowds.FEWEST_PAIRS", 1)
    two_bits = islice(combinations(range(64), 2), 100)
    near = np.array([1 << one | 1 << other for one, other in two_bits], np.uint64)
    table = copies(100, phash=near)
    ids = set(table["id"].to_pylist())
    assert len(find_duplicates(table, DedupSettings(partition_records=310))) == 4950
    with pytest.raises(RequestError, match=r"more than 4,944 pairs .* dedup.distance or") as told:
        find_duplicates(table, DedupSettings(partition_records=309))
    assert re.search(r"that of record (\w+)", str(told.value))[1] in ids


def test_wrong_tables_are_refused():
    table = copies(2)
    with pytest.raises(
        ValueError, match=r"need the columns \['phash'\]; the table has \['hash256'"
    ):
        find_duplicates(table.drop(["phash"]))
    with pytest.raises(ValueError, match=r"(?s)phash: uint64.*the table has.*phash: string"):
        find_duplicates(table.set_column(4, "phash", pa.array(["a", "b"])))
    with pytest.raises(ValueError, match="shard 0, row 1 twice"):
        find_duplicates(pa.concat_tables([table, table.slice(1)]))
    with pytest.raises(ValueError, match="is 640 x 0 pixels; width and height must be at least 1"):
        find_duplicates(copies(2, height=[480, 0]))
    with pytest.raises(ValueError, match="duplicates need"):
        find_duplicates(copies(2, row=[0, None]))
