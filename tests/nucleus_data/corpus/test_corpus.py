import json

import pyarrow as pa
import pytest

from nucleus_data.corpus.corpus import MARKER, Corpus
from nucleus_data.corpus.store import Store
from nucleus_data.corpus.tables import KEY_FIELDS, Table
from nucleus_data.errors import RequestError
from nucleus_data.hashing import record_id
from nucleus_data.world.corpora import small_corpus

TONE = pa.schema([*KEY_FIELDS, ("luma_mean", pa.float32()), ("error", pa.string())])
FILE = pa.schema([*KEY_FIELDS, ("width", pa.int32()), ("error", pa.string())])


def append(corpus, name, config_hash, schema, shard, *rows):
    content = [
        {"shard": shard, "row": n, "id": record_id("test", f"{shard}/{n}.bin"), **values}
        for n, values in rows
    ]
    Table(corpus.store, name, config_hash).append(shard, pa.Table.from_pylist(content, schema), {})


def plan(corpus, run, **tables):
    content = json.dumps({"tables": tables}).encode()
    corpus.store.put(f"runs/{run}/plan.json", content)


def test_no_corpus_is_refused_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(RequestError, match=r"no corpus at .*nucleus ingest corpus="):
        Corpus(str(tmp_path / "c"))
    assert not (tmp_path / "c").exists()


def test_a_corpus_is_made_once_and_says_whether_several_may_write(tmp_path):
    made = Corpus(str(tmp_path / "c"), create=True)
    marker = (tmp_path / "c" / MARKER).read_bytes()
    assert json.loads(marker) == {"format": 1, "several_writers": True}
    assert made.several_writers
    assert Corpus(str(tmp_path / "c"), create=True).shards() == []
    assert (tmp_path / "c" / MARKER).read_bytes() == marker
    assert made.store.list("claims") == []  # the probe is gone


def test_a_store_that_overwrites_is_found_out_when_the_corpus_is_made(tmp_path, monkeypatch):
    def overwrite(self, name, data):
        self.put(name, data)
        return True

    monkeypatch.setattr(Store, "create", overwrite)
    assert not Corpus(str(tmp_path / "c"), create=True).several_writers
    monkeypatch.undo()
    assert not Corpus(str(tmp_path / "c")).several_writers


@pytest.mark.parametrize("marker", [b'{"format": 2}', b"{}"])
def test_a_corpus_of_another_version_is_refused(tmp_path, marker):
    (tmp_path / MARKER).write_bytes(marker)
    for create in (False, True):
        with pytest.raises(RequestError) as error:
            Corpus(str(tmp_path), create=create)
        found = json.loads(marker).get("format") if marker == b'{"format": 2}' else None
        assert f"has format {found!r}" in str(error.value)
        assert "reads and writes format 1. Use the version that made it" in str(error.value)
    assert (tmp_path / MARKER).read_bytes() == marker


def test_a_dry_run_takes_no_corpus_as_an_empty_one(tmp_path):
    corpus = Corpus(str(tmp_path / "c"), create=True, dry_run=True)
    assert (corpus.shards(), corpus.runs()) == ([], [])
    assert not (tmp_path / "c").exists()
    with pytest.raises(RequestError, match="no corpus"):
        Corpus(str(tmp_path / "c"), dry_run=True)


def test_a_stage_s_name_joins_the_tables_of_its_groups(tmp_path):
    corpus = small_corpus(tmp_path, shards=2, images=2)
    append(corpus, "inspect.file", "f", FILE, 0, (0, {"width": 5}), (1, {"width": 6}))
    append(corpus, "inspect.file", "f", FILE, 1, (0, {"width": 7}))
    append(corpus, "inspect.tone", "t", TONE, 0, (0, {"luma_mean": 1.5}))
    append(corpus, "inspect.tone", "t", TONE, 1, (0, {"error": "truncated"}), (1, {"luma_mean": 2}))
    joined = corpus.table("inspect").order("shard, row").to_arrow_table().to_pylist()
    keys = ("shard", "row", "width", "luma_mean", "file_error", "tone_error")
    assert [tuple(row[k] for k in keys) for row in joined] == [
        (0, 0, 5, 1.5, None, None),
        (0, 1, 6, None, None, None),
        (1, 0, 7, None, None, "truncated"),
        (1, 1, None, 2, None, None),
    ]
    assert [row["id"] for row in joined] == [
        record_id("test", f"{s}/{r}.bin") for s in (0, 1) for r in (0, 1)
    ]


def test_captions_of_several_variants_stand_side_by_side(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=1)
    schema = pa.schema([*KEY_FIELDS, ("caption", pa.string()), ("error", pa.string())])
    append(corpus, "caption.short", "s", schema, 0, (0, {"caption": "a cat"}))
    append(corpus, "caption.long", "l", schema, 0, (0, {"caption": "a cat on a mat"}))
    (row,) = corpus.table("caption").to_arrow_table().to_pylist()
    assert (row["short_caption"], row["long_caption"]) == ("a cat", "a cat on a mat")


def test_a_table_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=1)
    with pytest.raises(RequestError, match=r"no table 'inspekt'.*Tables: records"):
        corpus.table("inspekt")


def test_pinned_is_what_the_newest_run_used(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=1)
    append(corpus, "inspect.file", "aa", FILE, 0, (0, {"width": 1}))
    assert corpus.pinned("inspect.file") == "aa"
    append(corpus, "inspect.file", "bb", FILE, 0, (0, {"width": 2}))
    with pytest.raises(RequestError, match="config hashes: aa, bb"):
        corpus.pinned("inspect.file")
    plan(corpus, "20260101-inspect", **{"inspect.file": "bb"})
    assert corpus.pinned("inspect.file") == "bb"
    plan(corpus, "20260102-inspect", **{"inspect.file": "aa"})
    plan(corpus, "20260103-inspect", **{"inspect.file": "of a table that was never written"})
    plan(corpus, "20260104-ingest")
    corpus.store.put("runs/20260105-inspect/claim", b"")
    assert corpus.pinned("inspect.file") == "aa"
    assert corpus.table("inspect.file").fetchall()[0][3] == 1
    assert corpus.table("inspect.file", "bb").fetchall()[0][3] == 2


def test_the_parts_hash_changes_with_every_new_part_and_with_nothing_else(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=3)
    tables = {"records": corpus.records.config_hash, "inspect.file": "aa"}
    seen = [corpus.parts_hash(tables)]
    assert corpus.parts_hash(dict(reversed(tables.items()))) == seen[0]
    assert Corpus(str(tmp_path)).parts_hash(tables) == seen[0]
    append(corpus, "inspect.file", "bb", FILE, 0, (0, {"width": 1}))
    append(corpus, "inspect.tone", "aa", TONE, 0, (0, {"luma_mean": 1}))
    assert corpus.parts_hash(tables) == seen[0]
    append(corpus, "inspect.file", "aa", FILE, 0, (0, {"width": 1}))
    seen.append(corpus.parts_hash(tables))
    append(corpus, "inspect.file", "aa", FILE, 0, (1, {"width": 1}))
    seen.append(corpus.parts_hash(tables))
    failed = pa.table({"shard": [0], "row": [2], "id": ["x"]})
    Table(corpus.store, "inspect.file", "aa").failed.append(0, failed, {})
    seen.append(corpus.parts_hash(tables))
    assert len(set(seen)) == 4


def test_rows_that_failed_for_now_and_have_no_value_since(tmp_path):
    corpus = small_corpus(tmp_path, shards=1, images=3)
    table = Table(corpus.store, "inspect.file", "aa")
    assert corpus.failed_rows(table, 0).tolist() == []
    keys = pa.schema(KEY_FIELDS)
    lost = pa.Table.from_pylist([{"shard": 0, "row": r, "id": f"{r}"} for r in (0, 2)], keys)
    table.failed.append(0, lost, {})
    assert corpus.failed_rows(table, 0).tolist() == [0, 2]
    append(corpus, "inspect.file", "aa", FILE, 0, (2, {"width": 1}))
    assert corpus.failed_rows(table, 0).tolist() == [0]


def test_a_corpus_may_lie_under_any_name(tmp_path):
    corpus = small_corpus(tmp_path / "it's [mine] *", shards=2, images=2)
    assert corpus.table("records").count("*").fetchall() == [(4,)]
