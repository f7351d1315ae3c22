import os
import time
from pathlib import Path

import fsspec
import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.stages.ingest import changes
from nucleus_data.stages.ingest.changes import Changes
from nucleus_data.stages.ingest.plan import plan_ingest
from nucleus_data.stages.ingest.settings import IngestSettings
from tests.support.ingested import ingest, put, put_tar, tiny, tree, url_list


@pytest.fixture
def folder(corpus, tmp_path):
    source = put(tmp_path / "p", {f"{i}.png": tiny(i) for i in range(5)})
    put(source, {f"{i}.txt": f"caption {i}" for i in range(4)})
    ingest(corpus, source, images_per_shard=2)
    return source


@pytest.fixture
def read(monkeypatch):
    """The files that are read to be compared."""
    real, read = changes.read_file, []

    def counted(root, path, top):
        read.append(path)
        return real(root, path, top)

    monkeypatch.setattr(changes, "read_file", counted)
    return read


def aged(corpus):
    """Makes the claims younger than all files of the source."""
    later = time.time() + 60
    for claim in Path(corpus.store.path("claims")).iterdir():
        os.utime(claim, (later, later))


def again(corpus, source, **more):
    return plan_ingest(corpus, IngestSettings(source=str(source), **more))


@pytest.mark.slow
def test_what_did_not_change_is_not_told_and_not_read(corpus, folder, read):
    assert again(corpus, folder).changes == Changes()
    assert len(read) == 5  # written a moment ago: their times say nothing
    aged(corpus)
    read.clear()
    plan = again(corpus, folder)
    assert (plan.changes, plan.lines()[1:], read) == (Changes(), [], [])
    assert again(corpus, folder, compare_bytes=True).changes == Changes()
    assert len(read) == 5


@pytest.mark.slow
def test_changed_and_vanished_files_are_told_and_nothing_is_replaced(corpus, folder, tmp_path):
    before = tree(tmp_path / "corpus")
    put(folder, {"1.png": tiny(99), "2.txt": "a better caption", "4.txt": "a first caption"})
    (folder / "3.txt").unlink()
    (folder / "0.png").unlink()
    put(folder, {"5.png": tiny(5)})
    for dry_run in (True, False):
        settings = IngestSettings(source=str(folder))
        plan = plan_ingest(corpus, settings, dry_run=dry_run)
        assert plan.changes == Changes(pictures=1, captions=3, gone=1)
        assert (plan.found, plan.already, plan.new) == (5, 4, 1)
    assert plan.lines()[-1].startswith(
        "changed in the source since it was ingested: 1 pictures, 3 captions, 1 rows removed. "
        "The corpus keeps"
    )
    assert before.items() <= tree(tmp_path / "corpus").items()


def test_a_time_alone_is_no_change_and_an_old_time_hides_none(corpus, folder):
    os.utime(folder / "1.png")  # touched
    assert len(tiny(1)) == len(tiny(77))
    put(folder, {"2.png": tiny(77)})
    put(folder, {"2.txt": "Caption 2"})  # of the same size
    for name in ("2.png", "2.txt"):
        os.utime(folder / name, (1, 1))  # as `cp -p` leaves it
    assert again(corpus, folder).changes == Changes(pictures=1, captions=1)


@pytest.mark.slow
def test_what_times_cannot_tell_is_found_in_the_bytes(corpus, folder):
    """A corpus that was copied without its times looks younger than a change before that."""
    put(folder, {"2.png": tiny(77)})
    aged(corpus)
    assert again(corpus, folder).changes == Changes()
    assert again(corpus, folder, compare_bytes=True).changes == Changes(pictures=1)


@pytest.mark.slow
def test_a_part_of_a_source_says_nothing_of_the_rest(corpus, folder):
    settings = IngestSettings(source=str(folder))
    (folder / "0.png").unlink()
    assert plan_ingest(corpus, settings, limit=2).changes == Changes()
    assert plan_ingest(corpus, settings, sample=0.5).changes == Changes()
    assert plan_ingest(corpus, settings, sample=1.0).changes == Changes(gone=1)


def test_a_picture_that_failed_and_is_another_one_now(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": b"", "b.png": b""})
    ingest(corpus, source)
    put(source, {"a.png": tiny(1)})
    assert again(corpus, source).changes == Changes(pictures=1)


def test_shards_that_are_not_built_yet_are_not_compared(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1)})
    again(corpus, source)
    put(source, {"a.png": tiny(2)})
    assert again(corpus, source).changes == Changes()


@pytest.mark.slow
def test_a_changed_captions_table(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": tiny(1), "b.png": tiny(2), "b.txt": "beside"})
    table = tmp_path / "c.csv"
    table.write_text("file,caption\na.png,one\n")
    ingest(corpus, source, captions=str(table))
    assert again(corpus, source, captions=str(table)).changes == Changes()
    table.write_text("file,caption\na.png,two\nb.png,in the table\n")
    assert again(corpus, source, captions=str(table)).changes == Changes(captions=2)


@pytest.mark.slow
def test_a_tar_that_was_packed_anew(corpus, tmp_path):
    members = [
        ("a.png", tiny(1)),
        ("a.txt", b"one"),
        ("b.png", tiny(2)),
        ("b.json", b'{"caption": "two"}'),
        ("c.png", tiny(3)),
    ]
    tar = put_tar(tmp_path / "t" / "x.tar", members)
    ingest(corpus, tar)
    assert again(corpus, tar).changes == Changes()
    # All move by a member more, and none of them changed.
    put_tar(tar, [("0.png", tiny(9)), *members])
    assert again(corpus, tar).changes == Changes()
    members[:4] = [("a.png", tiny(7)), ("a.txt", b"one"), ("b.png", tiny(2)), ("b.json", b"{}")]
    put_tar(tar, members[:4])
    assert again(corpus, tar).changes == Changes(pictures=1, captions=1, gone=2)


@pytest.mark.slow
def test_captions_and_rows_of_a_list(corpus, tmp_path):
    urls = [f"http://h/{i}" for i in range(3)]
    source = url_list(tmp_path / "l.parquet", urls, caption=["a", "b", None], n=[1, 2, 3])
    again(corpus, source)
    assert again(corpus, source).changes == Changes()
    url_list(tmp_path / "l.parquet", urls[:2], caption=["a", "better"], n=[7, 8])
    assert again(corpus, source).changes == Changes(captions=1, gone=1)


@pytest.mark.slow
def test_a_source_in_an_object_store(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe_file("/src/a.png", tiny(1))
    memory.pipe_file("/src/a.txt", b"one")
    memory.pipe_file("/src/b.png", tiny(2))
    corpus = Corpus("memory://corpus", create=True)
    ingest(corpus, "memory://src")
    assert again(corpus, "memory://src").changes == Changes()
    memory.pipe_file("/src/a.png", tiny(3))
    memory.pipe_file("/src/a.txt", b"two")
    memory.rm_file("/src/b.png")
    assert again(corpus, "memory://src").changes == Changes(pictures=1, captions=1, gone=1)
    memory.store.clear()
