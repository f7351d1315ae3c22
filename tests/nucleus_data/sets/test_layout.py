import hashlib
import re

import pyarrow as pa
import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.errors import CorpusError, OlderLayoutError, RequestError
from nucleus_data.sets import layout
from nucleus_data.sets.beside import encode
from nucleus_data.sets.index import index_name
from nucleus_data.sets.layout import MANIFEST_SCHEMA, SetFolder
from tests.support.sets import COLUMNS, EDITION, about, add_edition, make_set, members


@pytest.fixture
def made(tmp_path):
    return make_set(tmp_path / "set", {"64/1x1": 6, "64/4x3": 5, "128/1x1": 3})


def test_a_set_tells_what_it_has_without_a_tar(made):
    tars = made.manifest()
    assert [(t.path, t.samples) for t in tars] == [
        ("64/1x1/000000.tar", 4),
        ("64/1x1/000001.tar", 2),
        ("64/4x3/000000.tar", 4),
        ("64/4x3/000001.tar", 1),
        ("128/1x1/000000.tar", 3),
    ]
    for tar in tars:
        files = members(made, tar.path)
        index = made.index(tar.path)
        captions = made.edition().captions(tar.path)
        columns = made.columns().values(tar.path)
        ids = index.column("id").to_pylist()
        assert list(files) == ids == captions.column("id").to_pylist()
        assert columns.column("id").to_pylist() == ids
        data = made.store.read(tar.path)
        assert hashlib.sha256(data).hexdigest() == tar.sha256
        for row in index.to_pylist():
            picture = data[row["offset"] : row["offset"] + row["size"]]
            text = data[row["json_offset"] : row["json_offset"] + row["json_size"]]
            assert files[row["id"]] == {"jpg": picture, "json": text}
            assert about(made, tar.path)[row["id"]]["crop"] == row["crop"]
        content = made.store.read(index_name(tar.path))
        assert hashlib.sha256(content).hexdigest() == tar.index_sha256


def test_an_edition_is_found_by_name_or_hash(made):
    (one,) = made.editions()
    assert (one.hash, one.name, one.samples, one.without) == (EDITION, "source, short", 14, 2)
    assert one.tables == ["source", f"short@{EDITION}"]
    assert one.mix == {"web": 12, "synthesized:short": 12}
    rows = made.manifest_table().to_pylist()
    add_edition(made, rows, config_hash="d" * 16, name="short")
    assert {e.hash for e in made.editions()} == {EDITION, "d" * 16}
    assert made.edition("short").hash == made.edition("dddd").hash == "d" * 16
    assert made.edition("source, short").hash == EDITION
    for asked, said in (
        (None, "several caption editions; available: dddd"),
        ("long", "no caption edition 'long'; available: "),
        ("ddd", "no caption edition 'ddd'"),  # too few digits
    ):
        with pytest.raises(RequestError, match=re.escape(said)):
            made.edition(asked)


def test_columns_are_found_by_hash(made):
    assert made.columns().hash == made.columns("cccc").hash == COLUMNS
    assert made.columns().names == ["tier", "curriculum", "pleasant"]
    with pytest.raises(RequestError, match="no index columns dddd; available: cccc"):
        made.columns("dddd")


def test_a_set_is_there_once_its_manifest_is(tmp_path):
    store = Store(str(tmp_path))
    folder = SetFolder(store, "sets/train/0123456789abcdef")
    made = make_set(tmp_path / folder.path)
    assert made.store.url("") == folder.url()
    manifest = tmp_path / folder.path / "manifest.parquet"
    content = manifest.read_bytes()
    manifest.unlink()
    assert list(layout.all_sets(store)) == [folder]
    assert list(layout.published_sets(store)) == []
    with pytest.raises(CorpusError, match=r"manifest.parquet is missing: .* run nucleus shard"):
        folder.manifest()
    manifest.write_bytes(content)
    assert list(layout.published_sets(store)) == [folder]
    # The trainer reads the set as its own root, the corpus by the set's folder.
    assert folder.manifest() == made.manifest()


def test_a_set_of_the_older_layout_is_told(made):
    old = made.manifest_table().drop_columns("index_sha256")
    made.store.put("manifest.parquet", encode(old))
    with pytest.raises(
        OlderLayoutError, match=r"layout without .*: nucleus shard .*stays where it is"
    ):
        made.manifest()


def test_a_path_that_leads_out_of_the_set_is_refused(made):
    row = made.manifest_table().to_pylist()[0] | {"path": "../outside.tar"}
    made.store.put("manifest.parquet", encode(pa.Table.from_pylist([row], MANIFEST_SCHEMA)))
    with pytest.raises(CorpusError, match="leads outside the set"):
        made.manifest()
