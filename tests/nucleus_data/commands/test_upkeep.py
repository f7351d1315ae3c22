"""The commands of upkeep, as a person runs them, on a corpus with a real set."""

import json
import shutil
from pathlib import Path

import pytest

from nucleus_data.corpus import Corpus
from nucleus_data.sets.layout import published_sets
from nucleus_data.world.corpora import small_corpus
from tests.support.command import nucleus, work_here
from tests.support.curated import picture
from tests.support.ingested import put, tree
from tests.support.upkept import digest

SMALL = (
    "select.rules={}",
    "inspect.signals=[file, hash]",
    "select.prefer=[width desc]",
    "shard={resolutions: [32], captions: [source], samples_per_tar: 3}",
)


@pytest.fixture(scope="module", autouse=True)
def inline():
    with pytest.MonkeyPatch.context() as patch:
        work_here(patch)
        yield


def test_a_block_list(tmp_path):
    corpus = f"corpus={small_corpus(tmp_path / 'c', 1, 1).uri}"
    put(tmp_path, {"list.txt": "# of ours\nhost Bad.test\n\nurl http://a.test/x.jpg#top\n"})
    listed = ("block", corpus, "--from", tmp_path / "list.txt", "--sha256", "AA" * 32)
    assert "3 of 3 values would be added" in nucleus(*listed, "--dry-run")
    assert "the list has 0 values" in nucleus("block", corpus)
    assert "3 of 3 values added" in nucleus(*listed)
    assert "0 of 3 values added" in nucleus(*listed)
    assert "host   bad.test  blocked" in nucleus("block", corpus)
    assert "1 of 1 values removed" in nucleus("block", corpus, "--host", "bad.test", "--remove")
    found = json.loads(nucleus("block", corpus, "--json"))
    assert [entry["value"] for entry in found] == ["a.test/x.jpg", "aa" * 32]
    assert "is not a SHA-256" in nucleus("block", corpus, "--sha256", "12", code=2)
    put(tmp_path, {"list.txt": "nonsense\n"})
    assert "line 1: found 'nonsense'" in nucleus(*listed, code=2)


def test_nothing_is_taken_off_the_list_of_a_corpus_that_is_not_there(tmp_path):
    said = nucleus("block", f"corpus={tmp_path / 'c'}", "--remove", "--host", "a.test", code=2)
    assert "there is no corpus at" in said


def test_a_list_of_blocked_values_is_utf8_with_or_without_a_mark(tmp_path):
    file, corpus = tmp_path / "list.txt", f"corpus={tmp_path / 'c'}"
    file.write_bytes(b"\xef\xbb\xbfhost bad.test\r\n")
    assert "1 of 1 values added" in nucleus("block", corpus, "--from", file)
    file.write_bytes(b"url https://bad.test/\xe9.jpg\n")
    said = nucleus("block", corpus, "--from", file, code=2)
    assert "list.txt is not UTF-8 text (byte 21); save it as UTF-8" in said


def test_a_list_before_there_is_a_corpus(tmp_path):
    corpus = f"corpus={tmp_path / 'new'}"
    assert "there is no corpus" in nucleus("block", corpus, code=2)
    nucleus("block", corpus, "--sha256", digest(picture(1)))
    put(tmp_path / "p", {"0.png": picture(0), "1.png": picture(1)})
    assert "blocked 1" in nucleus("ingest", corpus, f"ingest.source={tmp_path / 'p'}")


def test_a_list_of_what_is_taken_down(tmp_path):
    corpus = small_corpus(tmp_path / "c", 2, 3)
    first, second = (corpus.records.read(shard, ["id"])["id"][0].as_py() for shard in (0, 1))
    put(tmp_path, {"list.txt": f"# of a letter\nid {first}\nid {second}\n\nid {'0' * 32}\n"})
    asked = ("takedown", "--from", tmp_path / "list.txt", f"corpus={corpus.uri}")
    said = nucleus(*asked, "--dry-run")
    assert "2 records" in said
    assert all(ident in said for ident in (first, second))
    put(tmp_path, {"list.txt": f"id {first}\n{second}\n"})
    assert f"line 2: found '{second}'" in nucleus(*asked, code=2)


def test_what_is_asked_wrongly(tmp_path):
    corpus = f"corpus={small_corpus(tmp_path / 'c', 1, 1).uri}"
    assert "takedown needs --id" in nucleus("takedown", corpus, code=2)
    assert "has no set" in nucleus("verify", corpus, code=2)
    assert "only one set can be verified at a time" in nucleus("verify", "a", "b", corpus, code=2)
    assert "there is no run x" in nucleus("gc", "--run", "x", corpus, code=2)
    assert "0 folders" in nucleus("gc", corpus)


@pytest.mark.slow
def test_a_set_is_verified_mended_and_a_picture_taken_down(tmp_path):
    files = {f"{n}.png": picture(n) for n in range(8)}
    put(tmp_path / "p", {**files, **{f"{n}.txt": f"picture {n}" for n in range(8)}})
    corpus = f"corpus={tmp_path / 'c'}"
    nucleus("ingest", corpus, f"ingest.source={tmp_path / 'p'}", "ingest.images_per_shard=4")
    for stage in ("inspect", "dedup", "compare", "select", "shard"):
        nucleus(stage, corpus, *SMALL)
    store = Corpus(str(tmp_path / "c")).store
    (folder,) = published_sets(store)
    assert "is intact" in nucleus("verify", corpus, *SMALL)

    # A damaged tar is named by sample; what is advised mends it.
    whole = tree(folder.url())
    tar = folder.manifest()[1].path
    file = Path(folder.url(tar))
    data = bytearray(file.read_bytes())
    data[700] ^= 1
    file.write_bytes(data)
    said = nucleus("verify", corpus, *SMALL, code=1)
    assert "picture_changed: 1, 1 sample. What to do: restore it from a copy; or remove it" in said
    found = json.loads(nucleus("verify", "--json", corpus, *SMALL, code=1).splitlines()[-1])
    assert found["kinds"] == {"picture_changed": 1}
    for name in (tar, tar.replace(".tar", ".index.parquet"), "manifest.parquet"):
        Path(folder.url(name)).unlink()
    nucleus("shard", corpus, *SMALL)
    assert tree(folder.url()) == whole
    assert "is intact" in nucleus("verify", "--quick", corpus, *SMALL)

    # One goes; the set that there is stays the one of the configuration.
    ident = folder.index(tar)["id"][0].as_py()
    asked = ("takedown", "--id", ident, corpus, *SMALL)
    before = tree(tmp_path / "c")
    assert "1 record, 1 of them with a picture" in nucleus(*asked, "--dry-run")
    assert {n for n in tree(tmp_path / "c") if not n.startswith("runs")} == {
        n for n in before if not n.startswith("runs")
    }
    assert "done and proven absent" in nucleus(*asked)
    assert "is intact" in nucleus("verify", corpus, *SMALL)
    assert "the tars already exist" in nucleus("shard", corpus, *SMALL)
    assert "is intact" in nucleus("verify", corpus, *SMALL)
    assert "taken_down" in nucleus("explain", ident, corpus, *SMALL)
    assert "1 failed" in nucleus("select", corpus, *SMALL)
    status = nucleus("status", corpus, *SMALL)
    assert "8" in status
    nucleus("ingest", corpus, f"ingest.source={tmp_path / 'p'}", "ingest.images_per_shard=4")
    assert "0 folders" in nucleus("gc", corpus, *SMALL)
    shutil.rmtree(tmp_path / "c" / "runs")
    assert "can be removed" in nucleus("gc", corpus)
