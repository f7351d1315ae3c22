import pyarrow as pa

from nucleus_data.stages.compare.order import contenders, in_order, ranked


def members(*rows):
    """Members from (group, sha256, width)."""
    return pa.table(
        {
            "shard": pa.array([0] * len(rows), pa.int32()),
            "row": pa.array(range(len(rows)), pa.int32()),
            "id": [f"id{i}" for i in range(len(rows))],
            "copies": pa.array([row[0] for row in rows], pa.int64()),
            "file": [f"{i}.jpg" for i in range(len(rows))],
            "offset": pa.array([0] * len(rows), pa.int64()),
            "size": pa.array([row[2] for row in rows], pa.int64()),
            "sha256": [row[1] for row in rows],
            "width": pa.array([row[2] for row in rows], pa.int32()),
            "height": pa.array([1] * len(rows), pa.int32()),
        }
    )


def test_different_files_of_a_group_are_compared_the_best_ones_by_their_signals():
    ordered = in_order(members((1, "a", 5), (1, "b", 9), (1, "a", 5), (1, "c", 7), (2, "d", 1)))
    assert ordered["id"].to_pylist() == ["id1", "id3", "id0", "id2", "id4"]
    assert ordered["quality"].null_count == 5
    assert contenders(ordered, 8)["id"].to_pylist() == ["id1", "id3", "id0"]
    assert contenders(ordered, 2)["id"].to_pylist() == ["id1", "id3"]


def test_equal_files_are_equal_copies_and_never_compared():
    ordered = in_order(members(*[(1, "a", 5)] * 3, *[(2, "b", 5)] * 2))
    assert contenders(ordered, 8).num_rows == 0
    table = ranked(ordered, None, 8)
    assert table["copy_rank"].to_pylist() == [0] * 5
    assert table["copy_best"].to_pylist() == ["id0"] * 3 + ["id3"] * 2


def test_a_great_many_equal_files_are_as_cheap_as_one():
    ordered = in_order(members(*[(1, "a", 5)] * 50_000, (1, "b", 9)))
    assert contenders(ordered, 8).num_rows == 2
    rows = [
        {"copies": 1, "sha256": "a", "id": "id0", "copy_rank": 0, "copy_faults": [], "error": None},
        {
            "copies": 1,
            "sha256": "b",
            "id": "id50000",
            "copy_rank": 1,
            "copy_faults": ["enlarged"],
            "error": None,
        },
    ]
    table = ranked(ordered, pa.Table.from_pylist(rows), 8)
    assert table["copy_rank"].to_pylist() == [0] * 50_000 + [1]
    assert table["copy_faults"][-1].as_py() == ["enlarged"]


def test_what_was_not_compared_comes_after_what_was():
    ordered = in_order(members((1, "a", 9), (1, "b", 8), (1, "c", 7)))
    chosen = contenders(ordered, 2)
    rows = [
        {**row, "copy_rank": i, "copy_faults": [], "error": None}
        for i, row in enumerate(chosen.select(["copies", "sha256", "id"]).to_pylist())
    ]
    assert ranked(ordered, pa.Table.from_pylist(rows), 2)["copy_rank"].to_pylist() == [0, 1, 2]
