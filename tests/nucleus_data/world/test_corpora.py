"""Corpora that nobody ingested are those that ingest would have left."""

import hashlib
import tarfile

import numpy as np
import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.images import read_images
from nucleus_data.hashing import record_id
from nucleus_data.stages.ingest.build import VALUE_FIELDS
from nucleus_data.world.corpora import (
    RECORDS,
    hex_texts,
    repeated_corpus,
    scene_jpegs,
    small_corpus,
    write_part,
    write_shard,
)


@pytest.fixture
def corpus(tmp_path):
    made = Corpus(str(tmp_path / "c"), create=True)
    write_shard(made, 4, {"a/b.png": b"one", "plain": b"three"}, {"plain": "words"})
    return made


def test_a_shard_is_a_tar_and_records_that_say_where_each_image_is(corpus):
    rows = corpus.records.read(4).to_pylist()
    assert corpus.shards() == [4]
    assert [row["key"] for row in rows] == ["a/b.png", "plain"]
    assert [row["id"] for row in rows] == [record_id("test", key) for key in ("a/b.png", "plain")]
    assert [row["file"].rpartition(".")[2] for row in rows] == ["png", "jpg"]
    assert [row["source.caption"] for row in rows] == [None, "words"]
    (footer,) = corpus.records.metadata(4)
    data = corpus.store.read("images/000004.tar")
    assert footer["tar_sha256"] == hashlib.sha256(data).hexdigest()
    images = read_images(corpus.store, 4, corpus.records.read(4), int(footer["tar_size"]))
    assert list(images) == [b"one", b"three"]
    with tarfile.open(corpus.store.path("images/000004.tar")) as tar:
        assert tar.getnames() == [row["file"] for row in rows]


def test_records_have_the_columns_of_ingested_ones():
    assert RECORDS.names[3:] == [*(field.name for field in VALUE_FIELDS), "source.caption"]
    assert all(RECORDS.field(field.name).type == field.type for field in VALUE_FIELDS)


def test_nothing_is_written_twice(corpus):
    with pytest.raises(FileExistsError):
        write_shard(corpus, 4, {"other": b""})


def test_a_part_is_the_one_that_append_writes(corpus):
    target = corpus.at("inspect.tone", "1" * 16)
    rows = corpus.records.read(4, ["shard", "row", "id"])
    rows = rows.append_column("luma_mean", pa.array([1.0, 2.0], pa.float32()))
    write_part(target, 4, rows, {"more": "said"})
    written = corpus.store.read(f"{target.folder}/000004-0.parquet")
    corpus.store.remove(f"{target.folder}/000004-0.parquet")
    target.append(4, rows, {"more": "said"})
    assert corpus.store.read(f"{target.folder}/000004-0.parquet") == written


def test_small_and_repeated_corpora(tmp_path):
    small = small_corpus(tmp_path / "small", shards=2, images=3)
    assert [small.records.read(shard).num_rows for shard in small.shards()] == [3, 3]
    images = scene_jpegs(2, 48)
    again = repeated_corpus(tmp_path / "again", 2, images)
    rows = [row for shard in again.shards() for row in again.records.read(shard).to_pylist()]
    assert [row["key"] for row in rows] == ["0/0", "0/1", "1/0", "1/1"]
    assert [row["sha256"] for row in rows] == [hashlib.sha256(i).hexdigest() for i in images] * 2


def test_hex_texts_are_distinct_and_of_the_length_asked_for():
    texts = hex_texts(np.random.default_rng(0), 100, 32).to_pylist()
    assert len(set(texts)) == 100
    assert all(len(text) == 32 and set(text) <= set("0123456789abcdef") for text in texts)
