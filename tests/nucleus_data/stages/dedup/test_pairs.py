import hashlib
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nucleus_data.stages.dedup.classes import Members
from nucleus_data.stages.dedup.groups import group_equal
from nucleus_data.stages.dedup.pairs import find_duplicates
from nucleus_data.stages.dedup.rows import INPUT, PAIRS
from nucleus_data.stages.dedup.settings import DedupSettings

RNG = np.random.default_rng(0)
PHASH = RNG.integers(0, 2, 64).tolist()
HASH256 = RNG.integers(0, 2, 256).tolist()


def flip(bits, number, rng):
    """Flips `number` different bits of a list of bits."""
    changed = list(bits)
    for place in rng.choice(len(bits), size=number, replace=False):
        changed[place] ^= 1
    return changed


def to_bytes(bits):
    return np.packbits(np.array(bits, dtype=np.uint8)).tobytes()


def digest(content):
    return None if content is None else hashlib.sha256(content.encode()).hexdigest()


def hash_table(rows):
    """A table from (shard, row, sha256, phash bits, hash256 bits, width, height)."""
    columns = {name: [] for name in INPUT.names}
    for shard, row, sha256, phash, hash256, width, height in rows:
        columns["shard"].append(shard)
        columns["row"].append(row)
        columns["id"].append(f"{shard:016x}{row:016x}")
        columns["sha256"].append(digest(sha256))
        columns["phash"].append(None if phash is None else int.from_bytes(to_bytes(phash), "big"))
        columns["hash256"].append(None if hash256 is None else to_bytes(hash256))
        columns["width"].append(width)
        columns["height"].append(height)
    return pa.table(columns, schema=INPUT)


def clustered_table(seed, count, *, centres=3):
    """Records around few centres: equal ones, near ones, chains, other shapes, failed ones."""
    rng = np.random.default_rng(seed)
    middles = [
        (rng.integers(0, 2, 64).tolist(), rng.integers(0, 2, 256).tolist()) for _ in range(centres)
    ]
    sizes = [(400, 300), (800, 600), (406, 300), (412, 300), (420, 300), (300, 400)]
    rows = []
    for place in range(count):
        phash, hash256 = middles[rng.integers(centres)]
        phash = flip(phash, int(rng.choice([0, 0, 0, 1, 2, 3, 5])), rng)
        hash256 = flip(hash256, int(rng.choice([0, 0, 0, 0, 12, 21, 30])), rng)
        width, height = sizes[rng.integers(len(sizes))]
        sha256 = f"{place:064x}"
        kind = rng.random()
        if kind < 0.25 and rows:
            _, _, sha256, phash, hash256, width, height = rows[rng.integers(len(rows))]
        elif kind < 0.3:
            phash = hash256 = None
        elif kind < 0.35:
            sha256 = None
        rows.append((place // 7, place % 7, sha256, phash, hash256, width, height))
    return hash_table(rows)


def true_pairs(table, settings=None):
    """All duplicate pairs of ids, by the definition."""
    settings = settings or DedupSettings()
    rows = table.to_pylist()
    found = set()
    for place, one in enumerate(rows):
        for other in rows[:place]:
            same_bytes = one["sha256"] is not None and one["sha256"] == other["sha256"]
            if same_bytes or _near(one, other, settings):
                found.add(frozenset((one["id"], other["id"])))
    return found


def _near(one, other, settings):
    if one["phash"] is None or other["phash"] is None:
        return False
    apart = int.from_bytes(one["hash256"], "big") ^ int.from_bytes(other["hash256"], "big")
    ratios = sorted(row["width"] / row["height"] for row in (one, other))
    return (
        (one["phash"] ^ other["phash"]).bit_count() <= settings.distance
        and apart.bit_count() <= settings.hash256_distance
        and ratios[1] / ratios[0] <= 1 + settings.aspect_tolerance + 1e-12
    )


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


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 8))
def test_the_table_stands_for_all_pairs_by_the_definition(seed, count, distance):
    table = clustered_table(seed, count)
    chosen = DedupSettings(distance=distance)
    assert read_pairs(find_duplicates(table, chosen)) == true_pairs(table, chosen)


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


def test_members_of_a_large_group_come_in_bounded_pieces(monkeypatch):
    monkeypatch.setattr("nucleus_data.stages.dedup.classes.SLICE", 7)
    group = np.array([0, 1, 0, 2, 1, 1, 0, 1], np.uint64)
    pieces = list(Members(group_equal(group)).of_pairs(np.array([1, 0]), np.array([1, 2])))
    assert max(len(pair) for pair, *_ in pieces) <= 7
    found = [tuple(row) for piece in pieces for row in np.stack(piece, axis=1).tolist()]
    inside = [(0, a, b) for a in (1, 4, 5, 7) for b in (1, 4, 5, 7) if a < b]
    assert sorted(found) == [*inside, (1, 0, 3), (1, 2, 3), (1, 6, 3)]


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


def test_settings_say_what_is_allowed():
    assert DedupSettings().model_dump() == {
        "distance": 4,
        "hash256_distance": 40,
        "aspect_tolerance": 0.03,
        "hashes": "upright",
        "against": {},
        "partition_records": 2_000_000,
    }
    with pytest.raises(ValidationError, match="a name has 1 to 63 of"):
        DedupSettings(against={"an evaluation set": "there"})
    with pytest.raises(ValidationError, match="less than or equal to 8"):
        DedupSettings(distance=9)
    with pytest.raises(ValidationError, match="Extra inputs"):
        DedupSettings(distanec=3)
    assert all(field.description for field in DedupSettings.model_fields.values())
