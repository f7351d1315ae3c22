"""What stays: of a tar its size and all other bytes, of a table its keys."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.stages.ingest.shard_tar import ShardTar, read_shard_tar
from nucleus_data.stages.upkeep.tombstones import (
    blank_copy,
    claim_tombstones,
    decision_tombstones,
    record_tombstones,
    without_rows,
)

IDS = [f"{n:032x}" for n in range(3)]


@pytest.fixture
def tar(tmp_path):
    """A tar as ingest writes it: three pictures, and what is said of rows 0, 1 and 3."""
    said = {
        "0": {"columns": {"source.caption": "a dog"}},
        "1": {"columns": {"source.caption": "b"}},
    }
    said["3"] = {"error": "http_404", "detail": "gone: http://a.test", "retryable": False}
    with ShardTar(tmp_path / "a.tar") as made:
        for n, ident in enumerate(IDS):
            made.add(f"{ident}.jpg", bytes([n + 1]) * (600 + n))
        content = {"version": 1, "rows": said}
        made.add("outcomes.json", json.dumps(content, sort_keys=True, indent=0).encode())
    return tmp_path / "a.tar"


def copied(tar, places, rows):
    target = tar.with_name("b.tar")
    with tar.open("rb") as file:
        return target, blank_copy(file, target, places, rows)


def test_a_tar_keeps_its_size_and_every_other_byte(tar):
    before = read_shard_tar(tar)
    places = {IDS[1]: (before.images[IDS[1]]["offset"], 601)}
    target, digest = copied(tar, places, [1, 3])
    after = read_shard_tar(target)
    assert after.taken_down == {IDS[1]}
    assert after.images == {i: before.images[i] for i in (IDS[0], IDS[2])}
    assert after.outcomes == {
        0: {"columns": {"source.caption": "a dog"}},
        3: {"error": "taken_down", "retryable": False},
    }
    old, new = tar.read_bytes(), target.read_bytes()
    assert len(old) == len(new)
    assert bytes([2]) * 601 in old
    assert bytes([2]) * 9 not in new
    assert b"http://a.test" not in new
    with tarfile.open(target) as found:
        assert [m.name for m in found][1] == f"{IDS[1]}.taken_down"
    # Done again, it is the same.
    assert copied(target.rename(tar), places, [1, 3])[1] == digest


def test_a_tar_without_what_was_learnt_beside(tmp_path):
    with ShardTar(tmp_path / "a.tar") as made:
        made.add(f"{IDS[0]}.jpg", b"x" * 10)
    target, _ = copied(tmp_path / "a.tar", {IDS[0]: (512, 10)}, [0])
    assert read_shard_tar(target).taken_down == {IDS[0]}
    assert io.BytesIO(target.read_bytes()).getvalue().count(b"x") == 0


def test_tables():
    rows = np.array([1])
    keys = {"shard": [0, 0], "row": [0, 1], "id": IDS[:2], "source": ["s", "s"]}
    records = pa.table(
        {**keys, "key": ["a", "b"], "error": [None, "old"], "retryable": [False, True]}
    )
    found = record_tombstones(records, rows)
    assert found.slice(0, 1) == records.slice(0, 1)
    dead = {"shard": 0, "row": 1, "id": IDS[1], "source": "s", "key": None}
    assert found.to_pylist()[1] == {**dead, "error": "taken_down", "retryable": False}
    assert record_tombstones(found, rows) == found
    assert without_rows(records, rows) == records.slice(0, 1)
    assert without_rows(without_rows(records, rows), rows) == records.slice(0, 1)

    path = pa.field("path", pa.binary(), nullable=False)
    claim = pa.table([[0, 1], [b"a", b"b"]], schema=pa.schema([("row", pa.int32()), path]))
    assert claim_tombstones(claim, rows)["path"].to_pylist() == [b"a", None]
    assert claim_tombstones(claim_tombstones(claim, rows), rows) == claim_tombstones(claim, rows)

    lists = pa.list_(pa.string())
    decided = {"row": pa.array([0, 1]), "state": ["kept", "kept"], "tier": ["A1", "A2"]}
    decided |= {name: pa.array([[], ["x"]], lists) for name in ("reasons", "flags")}
    table = pa.table(decided)
    assert decision_tombstones(table, rows).to_pylist()[1] == {
        "row": 1,
        "state": "failed",
        "tier": None,
        "reasons": ["taken_down"],
        "flags": [],
    }
