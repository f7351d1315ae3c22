import json

import pyarrow as pa
import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.sets import layout
from nucleus_data.sets.layout import PLAN_SCHEMA, PlannedTar, SetFolder

ROW = {"path": "64/1x1/000000.tar", "resolution": 64, "aspect": "1x1", "width": 64, "height": 64}


def planned(number, resolution, *ids):
    rows = [
        {
            **dict.fromkeys(PLAN_SCHEMA.names),
            "id": ident,
            "shard": 3,
            "row": n,
            "captions": ["a", "é"],
            "caption_sources": ["web", "nano:short"],
        }
        for n, ident in enumerate(ids)
    ]
    table = pa.Table.from_pylist(rows, PLAN_SCHEMA)
    path = f"{resolution}/4x3/{number:06d}.tar"
    return PlannedTar(number, path, resolution, "4x3", 72, 56, table)


@pytest.fixture
def folder(tmp_path):
    return SetFolder(Store(str(tmp_path)), "sets/train/0123456789abcdef")


def test_a_plan_comes_back_as_it_was(folder):
    tar = planned(7, 64, "b", "a")
    folder.write_plan(tar)
    found = folder.plan(7)
    assert found.rows.equals(tar.rows)
    assert found.rows.schema.equals(PLAN_SCHEMA)
    for name in ("number", "path", "resolution", "aspect", "width", "height"):
        assert getattr(found, name) == getattr(tar, name)
    with pytest.raises(FileNotFoundError):
        folder.plan(8)


def test_the_ids_of_a_set_are_known_without_its_tars(folder):
    for tar in (planned(0, 64, "b", "a"), planned(1, 64, "c"), planned(2, 128, "a")):
        folder.write_plan(tar)
    assert folder.planned_ids() == {64: ["b", "a", "c"], 128: ["a"]}
    assert folder.plans() == ["000000.parquet", "000001.parquet", "000002.parquet"]


def test_a_set_is_there_once_its_manifest_is(folder):
    store = folder.store
    assert folder.note(0) is None
    note = {**ROW, "samples": 2, "bytes": 10, "sha256": "0" * 64}
    folder.write_note(0, note)
    assert json.loads(store.read(f"{folder.path}/_done/000000.json")) == note == folder.note(0)
    assert not folder.published
    assert layout.read_manifest(store, folder.path) is None
    assert list(layout.all_sets(store)) == [folder]
    assert list(layout.published_sets(store)) == []
    assert folder.publish([note]).schema == layout.MANIFEST_SCHEMA
    assert folder.published
    assert list(layout.published_sets(store)) == [folder]
    # The trainer reads the set as its own root, the corpus by the set's folder.
    assert layout.read_manifest(store, folder.path) == [note]
    assert layout.read_manifest(Store(folder.url())) == [note]
