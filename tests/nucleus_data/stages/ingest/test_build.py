import os
import tarfile

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tar_names import tar_name
from nucleus_data.errors import CorpusError
from nucleus_data.stages.ingest import build as build_module
from nucleus_data.stages.ingest import fetch as fetch_module
from nucleus_data.stages.ingest.build import build_shard
from nucleus_data.stages.ingest.http.download import Download
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import images, ingest_counted, put, rows, tiny, tree


def test_the_tar_is_deterministic_and_plain(tmp_path):
    source = put(tmp_path / "p", {"1.png": tiny(1), "2.png": tiny(2), "2.txt": "two"})
    corpora = []
    for name in ("one", "two"):
        os.utime(source / "1.png", (len(corpora), len(corpora)))
        corpora.append(Corpus(str(tmp_path / name), create=True))
        ingest_counted(corpora[-1], source)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    with tarfile.open(tmp_path / "one" / tar_name(0)) as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}
    assert [m.name for m in members][-1] == "outcomes.json"


def test_the_true_format_names_the_member(corpus, tmp_path):
    source = put(tmp_path / "p", {"fake.jpg": tiny(1, "png"), "odd.jpg": b"no picture at all"})
    ingest_counted(corpus, source)
    assert [row["file"].rpartition(".")[2] for row in rows(corpus)] == ["png", "jpg"]
    assert [row["source.extension"] for row in rows(corpus)] == ["jpg", "jpg"]


@pytest.mark.slow
def test_a_kill_between_the_tar_and_the_records(corpus, tmp_path, monkeypatch):
    source = put(tmp_path / "p", {"a.png": tiny(1), "b.png": tiny(2), "b.txt": "b", "c.png": ""})
    reference = Corpus(str(tmp_path / "reference"), create=True)
    ingest_counted(reference, source)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build_module, "derive_records", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest_counted(corpus, source)
    assert corpus.store.exists(tar_name(0))
    assert corpus.shards() == []
    # What the source says now no longer counts: the tar does.
    put(source, {"a.png": tiny(3), "b.txt": "another", "c.png": tiny(4)})
    _, counts = ingest_counted(corpus, source)
    assert counts == [
        {
            "rows": 3,
            "images": 2,
            "failed": 1,
            "bytes": 2 * len(tiny()),
            "reasons": {"empty_file": 1},
        }
    ]
    assert tree(tmp_path / "corpus") == tree(tmp_path / "reference")
    assert build_shard(corpus, 0) == counts[0]


@pytest.mark.slow
def test_a_foreign_tar_is_refused(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1)})
    put(tmp_path / "q", {"z.png": tiny(2)})
    other = Corpus(str(tmp_path / "other"), create=True)
    ingest_counted(other, tmp_path / "q")
    put(tmp_path / "corpus", {tar_name(0): other.store.read(tar_name(0))})
    with pytest.raises(CorpusError, match="does not belong to"):
        ingest_counted(corpus, source)
    put(tmp_path / "corpus", {tar_name(0): other.store.read(tar_name(0))[:600]})
    with pytest.raises(CorpusError, match="damaged"):
        ingest_counted(corpus, source)


def test_a_shard_without_any_image_has_an_empty_tar(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": b""})
    ingest_counted(corpus, source)
    footer = next(iter(corpus.records.metadata(0)))
    assert corpus.store.size(tar_name(0)) == int(footer["tar_size"])
    with tarfile.open(tmp_path / "corpus" / tar_name(0)) as tar:
        assert tar.getnames() == ["outcomes.json"]


def test_an_object_store_as_corpus_and_as_source(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.store.clear()
    files = {"a/1.png": tiny(1), "2.png": tiny(2), "2.txt": "two", "x.svg": b""}
    for name, data in files.items():
        memory.pipe_file(f"/src/{name}", data if isinstance(data, bytes) else data.encode())
    remote = Corpus("memory://corpus", create=True)
    plan, _ = ingest_counted(remote, "memory://src")
    assert (plan.source, plan.found, plan.skipped) == ("src", 2, {".svg": 1})
    local = Corpus(str(tmp_path / "c"), create=True)
    ingest_counted(local, put(tmp_path / "src", files))
    assert remote.store.read(tar_name(0)) == local.store.read(tar_name(0))
    assert remote.records.read(0).equals(local.records.read(0))
    memory.store.clear()


def test_downloads_that_change_do_not_change_the_records(corpus, tmp_path, monkeypatch):
    (tmp_path / "l.txt").write_text("http://h/a.png\nhttp://h/b.png\nhttp://h/c.png\n")
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.txt"), max_bytes=5000))
    tries = []

    def downloaded(urls, settings, folder):
        tries.append(urls)
        yield Download(tiny(len(tries)))
        yield Download(None, "timeout", "attempt 1", True)
        yield Download(b"\x89PNG\r\n\x1a\n" * 1000)

    monkeypatch.setattr(fetch_module, "download", downloaded)
    with monkeypatch.context() as patch:
        patch.setattr(build_module, "derive_records", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_shard(corpus, 0)
    tar = corpus.store.read(tar_name(0))
    counts = build_shard(corpus, 0)
    assert len(tries) == 1
    assert corpus.store.read(tar_name(0)) == tar
    assert counts["reasons"] == {"timeout": 1, "too_large": 1}
    found = rows(corpus)
    assert (found[1]["detail"], found[1]["retryable"]) == ("attempt 1", True)
    assert images(corpus) == [tiny(1)]


def test_who_loses_the_race_for_a_tar_takes_the_winners(corpus, tmp_path, monkeypatch):
    (tmp_path / "l.txt").write_text("http://h/a.png\n")
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.txt")))

    def downloaded(urls, settings, folder):
        if not tries:
            tries.append(1)
            build_shard(Corpus(corpus.uri), 0)  # another worker is faster
            yield Download(tiny(1))
        else:
            yield Download(tiny(2))

    tries = []
    monkeypatch.setattr(fetch_module, "download", downloaded)
    build_shard(corpus, 0)
    assert images(corpus) == [tiny(2)]
    assert len(rows(corpus)) == 1


def test_the_records_are_of_the_tar_that_is_there_even_if_its_writer_died(
    corpus, tmp_path, monkeypatch
):
    (tmp_path / "l.txt").write_text("http://h/a.png\n")
    plan_ingest(corpus, IngestSettings(source=str(tmp_path / "l.txt")))

    def downloaded(urls, settings, folder):
        if not tries:
            tries.append(1)
            build_shard(Corpus(corpus.uri), 0)  # another worker is faster, and dies
            corpus.store.remove(f"{corpus.records.folder}/000000-0.parquet")
            yield Download(tiny(1))
        else:
            yield Download(tiny(2))

    tries = []
    monkeypatch.setattr(fetch_module, "download", downloaded)
    build_shard(corpus, 0)
    assert images(corpus) == [tiny(2)]
