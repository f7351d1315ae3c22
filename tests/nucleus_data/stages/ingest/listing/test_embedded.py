"""Tables with the pictures inside, made by the libraries that people make them with."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.claims import read_claim
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import rows, tiny

PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def hub_file(path, numbers, **columns):
    """A Parquet file as dataset hubs have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [{"bytes": tiny(i), "path": f"some/{i}.PNG"} for i in numbers]
    texts = [f"caption {i}" for i in numbers]
    table = {"image": pa.array(pictures, PICTURE), "text": texts, **columns}
    pq.write_table(pa.table(table), path, row_group_size=3)
    return path


def ingested(corpus, source, **settings):
    plan = plan_ingest(corpus, IngestSettings(source=str(source), **settings))
    for number in plan.todo:
        build_shard(corpus, number)
    return plan, rows(corpus)


@pytest.mark.parametrize("as_", ["file", "glob", "folder", "repository"])
def test_parquet_of_a_hub(corpus, tmp_path, as_):
    folder = tmp_path / "hub"
    data = folder / "data" if as_ == "repository" else folder
    one = hub_file(data / "train-00000-of-00002.parquet", range(5), label=[1, 2, 3, 4, 5])
    if as_ != "file":
        hub_file(data / "train-00001-of-00002.parquet", range(5, 8))
    if as_ == "repository":
        (folder / "README.md").write_text("# A set")
    source = {"file": one, "glob": folder / "*.parquet"}.get(as_, folder)
    plan, found = ingested(corpus, source)
    count = 5 if as_ == "file" else 8
    assert (plan.kind, plan.found) == ("embedded", count)
    assert [row["source.caption"] for row in found] == [f"caption {i}" for i in range(count)]
    assert [row["error"] for row in found] == [None] * count
    assert len({row["sha256"] for row in found}) == count
    prefix = "data/" if as_ == "repository" else ""
    assert found[4]["key"] == f"{prefix}train-00000-of-00002.parquet/4"
    assert found[4]["source.extension"] == "png"
    assert [row["source.label"] for row in found[:5]] == [1, 2, 3, 4, 5]
    assert found[4]["source.image_path"] == "some/4.PNG"


@pytest.mark.parametrize("kind", ["auto", "embedded"])
def test_pictures_and_tars_beside_tables_are_told_of(corpus, tmp_path, kind):
    hub_file(tmp_path / "hub" / "data" / "train-00000.parquet", range(2))
    for name in ("photos/a.JPG", "photos/more/b.jpg", "c.png", "tars/0.tar", "tars/0.txt"):
        path = tmp_path / "hub" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny())
    if kind == "auto":
        (tmp_path / "hub" / "c.png").unlink()  # with it the folder is one of pictures
    plan, found = ingested(corpus, tmp_path / "hub", kind=kind)
    assert len(found) == 2
    png = ".png 1, " if kind == "embedded" else ""
    assert plan.notes[0] == (
        "only the tables are ingested, not the pictures and tars beside them: .jpg 2, "
        f"{png}.tar 1. To ingest those, give their folders as separate sources"
    )


def test_a_column_called_as_the_path_is_kept_in_its_place(corpus, tmp_path):
    source = hub_file(tmp_path / "one.parquet", range(2), image_path=["own/0", "own/1"])
    _, found = ingested(corpus, source)
    assert [row["source.image_path"] for row in found] == ["own/0", "own/1"]


def test_the_same_rows_whatever_the_shards(corpus, tmp_path):
    source = hub_file(tmp_path / "one.parquet", range(8))
    _, found = ingested(corpus, source, images_per_shard=3)
    assert [row["shard"] for row in found] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert [row["sha256"] for row in found] == [
        hashlib.sha256(tiny(i)).hexdigest() for i in range(8)
    ]


def test_what_save_to_disk_wrote(corpus, tmp_path):
    datasets = pytest.importorskip("datasets")
    pictures = [{"bytes": tiny(i), "path": None} for i in range(6)]
    made = datasets.Dataset.from_dict({"image": pictures, "caption": [f"a {i}" for i in range(6)]})
    made = made.cast_column("image", datasets.Image())
    both = datasets.DatasetDict({"train": made.select(range(4)), "test": made.select(range(4, 6))})
    both.save_to_disk(str(tmp_path / "saved"), num_proc=None)
    (tmp_path / "saved/train/cache-1234.arrow").write_bytes(b"of a map that was run")
    plan, found = ingested(corpus, tmp_path / "saved")
    assert (plan.kind, plan.found) == ("embedded", 6)
    assert [row["source.caption"] for row in found] == [f"a {i}" for i in range(6)]
    assert all(row["error"] is None for row in found)
    assert found[5]["key"] == "test/data-00000-of-00001.arrow/1"


def test_plain_bytes_are_looked_at(corpus, tmp_path):
    table = pa.table(
        {
            "thumb_hash": [b"\x01\x02", b"\x03"],
            "jpg": [tiny(1), tiny(2)],
            "txt": ["one", "two"],
        }
    )
    pq.write_table(table, tmp_path / "plain.parquet")
    plan, found = ingested(corpus, tmp_path / "plain.parquet", caption_column="txt")
    assert plan.kind == "embedded"
    assert [row["source.caption"] for row in found] == ["one", "two"]
    assert any("thumb_hash" in note for note in plan.notes)


def test_a_list_of_urls_with_thumbnails_may_be_either(corpus, tmp_path):
    table = pa.table({"url": ["http://127.0.0.1:9/a"], "image": [tiny(1)], "text": ["t"]})
    pq.write_table(table, tmp_path / "both.parquet")
    assert plan_ingest(corpus, IngestSettings(source=str(tmp_path / "both.parquet"))).kind == (
        "embedded"
    )
    urls = IngestSettings(source=str(tmp_path / "both.parquet"), kind="urls", name="urls")
    assert plan_ingest(corpus, urls, dry_run=True).kind == "urls"


def test_each_row_fails_alone(corpus, tmp_path):
    pictures = [
        {"bytes": tiny(0), "path": "0.png"},
        {"bytes": None, "path": "/home/someone/1.png"},
        None,
        {"bytes": b"", "path": "3.png"},
        {"bytes": tiny(4), "path": "4.png"},
    ]
    table = pa.table({"image": pa.array(pictures, PICTURE), "text": list("abcde")})
    pq.write_table(table, tmp_path / "some.parquet")
    _, found = ingested(corpus, tmp_path / "some.parquet")
    assert [row["error"] for row in found] == [None, "no_picture", "no_picture", "empty_file", None]
    assert "/home/someone/1.png" in found[1]["detail"]
    assert found[4]["source.caption"] == "e"


def test_a_damaged_stretch_costs_its_rows(corpus, tmp_path):
    source = hub_file(tmp_path / "hub.parquet", range(9))
    plan = plan_ingest(corpus, IngestSettings(source=str(source)))
    metadata = pq.ParquetFile(source).metadata
    chunk = next(
        metadata.row_group(1).column(i)
        for i in range(metadata.row_group(1).num_columns)
        if metadata.row_group(1).column(i).path_in_schema == "image.bytes"
    )
    data = bytearray(source.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    source.write_bytes(data)
    for number in plan.todo:
        build_shard(corpus, number)
    reasons = [row["error"] for row in rows(corpus)]
    assert reasons == [None] * 3 + ["unreadable"] * 3 + [None] * 3


def test_a_table_that_went_away_is_told(corpus, tmp_path):
    source = hub_file(tmp_path / "hub.parquet", range(3))
    plan = plan_ingest(corpus, IngestSettings(source=str(source)))
    source.unlink()
    with pytest.raises(CorpusError, match=r"hub.parquet no longer exists"):
        build_shard(corpus, plan.todo[0])


def test_a_column_that_is_not_there_is_named(corpus, tmp_path):
    source = hub_file(tmp_path / "hub.parquet", range(3))
    with pytest.raises(RequestError, match=r"picture_column='photo'.*possible columns: image"):
        plan_ingest(corpus, IngestSettings(source=str(source), picture_column="photo"))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "none.parquet")
    settings = IngestSettings(source=str(tmp_path / "none.parquet"), kind="embedded")
    with pytest.raises(RequestError, match="has no column of pictures; its columns are a"):
        plan_ingest(corpus, settings)


def test_columns_of_one_name_are_named(corpus, tmp_path):
    columns = [pa.array([{"bytes": tiny(1), "path": None}], PICTURE), [1], [2]]
    table = pa.Table.from_arrays([pa.array(c) for c in columns], names=["image", "x", "x"])
    pq.write_table(table, tmp_path / "one.parquet")
    with pytest.raises(RequestError, match=r"'one.parquet' has several columns named x;"):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "one.parquet")))


def test_rows_with_several_captions_keep_them(corpus, tmp_path):
    captions = pa.array([["a", "b"], ["c", "d"]])
    source = hub_file(tmp_path / "hub.parquet", range(2), captions=captions)
    _, found = ingested(corpus, source, caption_column="captions")
    assert [row["source.captions"] for row in found] == [["a", "b"], ["c", "d"]]
    assert [row["source.caption"] for row in found] == ["a", "c"]


def test_pictures_beside_a_table_outweigh_it(corpus, tmp_path):
    hub_file(tmp_path / "set/metadata.parquet", range(2))
    (tmp_path / "set/a.png").write_bytes(tiny(1))
    assert plan_ingest(corpus, IngestSettings(source=str(tmp_path / "set"))).kind == "folder"


def test_a_folder_of_classes_is_not_searched_through(corpus, tmp_path):
    for number in range(40):
        folder = tmp_path / f"set/class-{number:03d}"
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(tiny(number))
    hub_file(tmp_path / "set/class-039/x/0.parquet", range(2))
    plan = plan_ingest(corpus, IngestSettings(source=str(tmp_path / "set")))
    assert (plan.kind, plan.found) == ("folder", 40)
    with pytest.raises(RequestError, match="this folder has no tables with pictures"):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "set"), kind="embedded", name="x"))


def test_a_second_ingest_takes_nothing_twice(corpus, tmp_path):
    source = hub_file(tmp_path / "hub/0.parquet", range(3)).parent
    ingested(corpus, source)
    hub_file(source / "1.parquet", range(3, 5))
    plan, found = ingested(corpus, source)
    assert (plan.already, plan.new) == (3, 2)
    assert claimed(corpus, 1) == ["1.parquet/0", "1.parquet/1"]
    assert len(found) == 5


def claimed(corpus, number):
    return read_claim(corpus, number).rows["key"].to_pylist()


@pytest.mark.parametrize("split", ["../other", "/etc", "train/../../other", "..", "gone", 3])
def test_a_split_is_a_folder_of_its_data_set(corpus, tmp_path, split):
    """The JSON came with the data, and may name anything."""
    hub_file(tmp_path / "other/data.arrow", [1])
    (tmp_path / "other/state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (tmp_path / "set/train").mkdir(parents=True)
    (tmp_path / "set/dataset_dict.json").write_text(json.dumps({"splits": [split]}))
    with pytest.raises(RequestError, match="lists 1 missing folders: "):
        plan_ingest(corpus, IngestSettings(source=str(tmp_path / "set")))
