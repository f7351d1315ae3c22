"""A whole set has no faults; each kind of damage is found, by sample where it is of one."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.blocked import ID, Entry, add_blocked
from nucleus_data.corpus.tables import PAIRS_SCHEMA
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.sets.beside import encode, read
from nucleus_data.sets.index import index_name
from nucleus_data.sets.layout import LEFT_OUT_SCHEMA, SetFolder
from nucleus_data.stages.upkeep import verify as upkeep
from nucleus_data.stages.upkeep.faults import ADVICE, table
from nucleus_data.stages.upkeep.verify import find_set
from nucleus_data.stages.upkeep.verify_task import VerifyTask
from tests.support import curated
from tests.support.ingested import tree
from tests.support.quick import quick
from tests.support.upkept import PATH, corpus_with_set, ident


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    corpus_with_set(folder)
    return folder / "c"


@pytest.fixture
def made(original, tmp_path):
    """A copy of a corpus with a set, to damage."""
    corpus = Corpus(str(shutil.copytree(original, tmp_path / "c")))
    return corpus, SetFolder(corpus.store, PATH)


def verified(corpus, folder, against=None, pairs=None, **options):
    run = curated.run(corpus.uri, "verify")
    return upkeep.verify(run, folder, against or {}, pairs, **options)


def file_of(folder, name):
    return Path(folder.url(name))


def flip(folder, name, at):
    data = bytearray(file_of(folder, name).read_bytes())
    data[at] ^= 1
    file_of(folder, name).write_bytes(data)


def told(faults):
    return {(fault.kind, fault.sample) for fault in faults}


def test_a_whole_set(made):
    corpus, folder = made
    before = tree(folder.url())
    assert verified(corpus, folder) == []
    assert tree(folder.url()) == before
    assert corpus.store.list("verify") == []


# What is free text in an edition's JSON, its name and its tables, nobody can check.
FILES = (
    "64/1x1/000001.tar",
    "64/1x1/000001.index.parquet",
    "captions/eeeeeeeeeeeeeeee/64/1x1/000001.parquet",
    "columns/cccccccccccccccc/64/1x1/000001.parquet",
    "manifest.parquet",
)


@pytest.mark.parametrize("name", quick(FILES, ["64/1x1/000001.tar"]))
def test_a_flipped_byte_of_each_file_is_found(made, name):
    corpus, folder = made
    whole = file_of(folder, name).read_bytes()
    for at in (len(whole) // 3, len(whole) // 2, len(whole) - 20):
        flip(folder, name, at)
        found = verified(corpus, folder, decode=False)
        assert found, at
        if name.endswith(".tar") and at < len(whole) - 512:
            assert any(fault.sample for fault in found), (at, found)
        file_of(folder, name).write_bytes(whole)


@pytest.mark.slow
def test_the_list_of_who_is_left_out(made):
    corpus, folder = made
    lost = [{"id": ident(5, n), "resolution": 64, "reason": "too_small"} for n in range(50)]
    corpus.store.remove(folder.name("left_out.parquet"))
    folder.write_left_out(pa.Table.from_pylist(lost, LEFT_OUT_SCHEMA))
    assert verified(corpus, folder, decode=False) == []
    flip(folder, "left_out.parquet", 400)
    assert [fault.kind for fault in verified(corpus, folder, decode=False)] == ["left_out"]


@pytest.mark.slow
def test_sums_of_an_edition(made):
    corpus, folder = made
    edition = folder.edition()
    name = f"{edition.path}/{edition.marker}"
    text = corpus.store.read(name).decode()
    for old, new in (('"captions": 16', '"captions": 17'), ('"web": 8', '"web": 9'), ("{", "[")):
        corpus.store.put(name, text.replace(old, new, 1).encode())
        assert [f.kind for f in verified(corpus, folder)] == ["captions"]


def test_what_the_corpus_alone_knows_of_a_sample(made):
    corpus, folder = made
    entry = folder.manifest()[0]
    data = file_of(folder, entry.path).read_bytes()
    row = folder.index(entry.path).to_pylist()[1]
    at = data.index(b'"sha256": "', row["json_offset"]) + 11
    file_of(folder, entry.path).write_bytes(
        data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]
    )
    (fault,) = verified(corpus, folder)
    assert (fault.kind, fault.sample) == ("json_changed", row["id"])
    assert "the corpus has" in fault.detail
    # Of a set on its own, the tar alone is known.
    alone = SetFolder(type(corpus.store)(folder.url()))
    (fault,) = verified(corpus, alone)
    assert (fault.kind, fault.path) == ("tar_changed", entry.path)


def test_files_that_are_missing_or_of_another_tar(made):
    corpus, folder = made
    one, two, _ = folder.manifest()
    edition, columns = folder.edition(), folder.columns()
    file_of(folder, two.path).unlink()
    Path(corpus.store.path(edition.file(one.path))).unlink()
    rows = read(corpus.store, columns.file(one.path))
    corpus.store.put(columns.file(one.path), encode(rows.slice(1)))
    found = verified(corpus, folder)
    kinds = {(fault.kind, fault.path) for fault in found}
    assert ("tar_missing", two.path) in kinds
    assert ("captions", f"captions/{edition.hash}/64/1x1/000000.parquet") in kinds
    assert ("columns", f"columns/{columns.hash}/64/1x1/000000.parquet") in kinds
    lines = list(table(found))
    assert any(
        line.startswith("tar_missing: 1. What to do: restore it from a copy") for line in lines
    )
    assert ADVICE.keys() >= {fault.kind for fault in found}


@pytest.mark.slow
def test_samples_that_come_twice_or_are_left_out_too(made):
    corpus, folder = made
    first, *others = folder.manifest_table().to_pylist()
    double = {**first, "path": "64/1x1/000009.tar"}
    for name in (str, index_name):
        shutil.copy(file_of(folder, name(first["path"])), file_of(folder, name(double["path"])))
    for one in (folder.edition(), folder.columns()):
        shutil.copy(
            corpus.store.path(one.file(first["path"])), corpus.store.path(one.file(double["path"]))
        )
    file_of(folder, "manifest.parquet").unlink()
    folder.publish([first, *others, double])
    corpus.store.remove(folder.name("left_out.parquet"))
    lost = [{"id": ident(1, 4), "resolution": 64, "reason": "too_small"}]
    folder.write_left_out(pa.Table.from_pylist(lost, LEFT_OUT_SCHEMA))
    found = told(verified(corpus, folder))
    assert {("duplicate", i) for i in folder.index(first["path"])["id"].to_pylist()} <= found
    assert ("left_out", ident(1, 4)) in found


def test_what_should_not_be_in_it(made, tmp_path):
    corpus, folder = made
    add_blocked(corpus.store, [Entry(ID, ident(0, 3))])
    evaluation, _ = corpus_with_set(tmp_path / "e", shards=1, images=2)
    near = {"shard": 1, "row": 2, "id": ident(1, 2), "other_id": "test:1", "exact": False}
    near["distance"] = 3
    pairs = corpus.at("dedup", "d" * 16)  # of another corpus's record
    pairs.append(1, pa.Table.from_pylist([near], PAIRS_SCHEMA), {})
    found = verified(corpus, folder, {"test": evaluation.uri}, pairs.config_hash)
    assert told(found) == {
        ("blocked", ident(0, 3)),
        ("evaluation", ident(0, 0)),
        ("evaluation", ident(0, 1)),
        ("evaluation", ident(1, 2)),
    }


def test_it_goes_on_where_it_was_stopped(made, monkeypatch):
    corpus, folder = made
    seen, verify = [], VerifyTask._verify

    def stopping(task, folder, entry):
        seen.append(entry.path)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return verify(task, folder, entry)

    monkeypatch.setattr(VerifyTask, "_verify", stopping)
    with pytest.raises(KeyboardInterrupt):
        verified(corpus, folder)
    assert verified(corpus, folder) == []
    paths = [entry.path for entry in folder.manifest()]
    assert seen == [*paths[:2], *paths[1:]]


def test_a_tar_that_cannot_be_read_now_is_no_verdict(made, monkeypatch):
    corpus, folder = made
    monkeypatch.setattr(VerifyTask, "_verify", lambda *_: 1 / 0)
    with pytest.raises(CorpusError, match="run the same command again"):
        verified(corpus, folder)


def test_which_set_is_meant(made, tmp_path):
    corpus, folder = made
    run = curated.run(corpus.uri, "verify")
    for name in (None, "train", "train/0123", "sets/train/0123456789abcdef"):
        assert find_set(run, name).path == folder.path
    alone = shutil.copytree(folder.url(), tmp_path / "alone")
    assert verified(corpus, find_set(run, str(alone))) == []
    with pytest.raises(RequestError, match="has no set other; available: train/0123456789abcdef"):
        find_set(run, "other")
