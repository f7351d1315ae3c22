import csv
import io
import os
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.images import read_images, tar_name
from nucleus_data.errors import CorpusError, RequestError
from nucleus_data.hashing import record_id
from nucleus_data.stages.ingest import IngestSettings, build_shard, plan_ingest
from nucleus_data.stages.ingest import build as build_module
from nucleus_data.stages.ingest.claims import chunks, claim_numbers, read_claim
from nucleus_data.stages.ingest.work_folder import remove_empty, work_folder


def picture(number=0, suffix="png"):
    data = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 256, number // 256, 7)).save(data, suffix)
    return data.getvalue()


def put(folder, files):
    for name, data in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def ingest(corpus, source, **more):
    plan = plan_ingest(corpus, IngestSettings(source=str(source), **more))
    counts = [build_shard(corpus, number) for number in plan.todo]
    return plan, counts


def rows(corpus):
    tables = [corpus.records.read(number) for number in corpus.shards()]
    return [row for table in tables for row in table.to_pylist()]


def tree(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in Path(root).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def corpus(tmp_path):
    return Corpus(str(tmp_path / "corpus"), create=True)


def test_a_folder_with_sidecar_captions(corpus, tmp_path):
    source = put(
        tmp_path / "pictures",
        {
            "b.png": picture(1),
            "a/b.png": picture(2),
            "a/c.JPG": picture(3, "jpeg"),
            "a/c.txt": "\ufeff a cat\n",
            "b.txt": "   \n",
            "notes.txt": "belongs to no picture",
            "drawing.svg": "<svg/>",
            ".hidden.png": picture(4),
            ".git/x.png": picture(4),
            "Überraschung 🐈.webp": picture(5, "webp"),
        },
    )
    plan, counts = ingest(corpus, source)
    assert (plan.found, plan.new, plan.already, plan.new_shards) == (4, 4, 0, 1)
    assert plan.skipped == {".svg": 1, ".txt": 1}
    assert plan.todo == [0]
    assert counts[0]["rows"] == counts[0]["images"] == 4
    found = rows(corpus)
    assert [row["key"] for row in found] == ["a/b.png", "a/c.JPG", "b.png", "Überraschung 🐈.webp"]
    assert [row["source.caption"] for row in found] == [None, "a cat", None, None]
    assert [row["source.extension"] for row in found] == ["png", "jpg", "png", "webp"]
    assert [row["row"] for row in found] == [0, 1, 2, 3]
    assert found[0]["id"] == record_id("pictures", "a/b.png") != found[2]["id"]
    assert found[0]["file"] == f"{found[0]['id']}.png"
    assert all(row["error"] is None and row["retryable"] is False for row in found)
    footer = next(iter(corpus.records.metadata(0)))
    images = list(read_images(corpus.store, 0, corpus.records.read(0), int(footer["tar_size"])))
    assert images == [picture(2), picture(3, "jpeg"), picture(1), picture(5, "webp")]
    assert list((tmp_path / "corpus" / "incoming").iterdir()) == []


def test_the_tar_is_deterministic_and_plain(tmp_path):
    source = put(tmp_path / "p", {"1.png": picture(1), "2.png": picture(2), "2.txt": "two"})
    corpora = []
    for name in ("one", "two"):
        os.utime(source / "1.png", (len(corpora), len(corpora)))
        corpora.append(Corpus(str(tmp_path / name), create=True))
        ingest(corpora[-1], source)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    with tarfile.open(tmp_path / "one" / tar_name(0)) as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}
    assert [m.name for m in members][-1] == "outcomes.json"


def test_the_true_format_names_the_member(corpus, tmp_path):
    source = put(tmp_path / "p", {"fake.jpg": picture(1, "png"), "odd.jpg": b"no picture at all"})
    ingest(corpus, source)
    assert [row["file"].rpartition(".")[2] for row in rows(corpus)] == ["png", "jpg"]
    assert [row["source.extension"] for row in rows(corpus)] == ["jpg", "jpg"]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_captions_table(corpus, tmp_path, kind):
    source = put(
        tmp_path / "p",
        {"a.png": picture(1), "d/b.png": picture(2), "c.png": picture(3), "a.txt": "x"},
    )
    put(source, {"c.txt": "from the sidecar"})
    table = pa.table(
        {
            "File_Name": ["./a.png", "d/b.png", "d/b.png", "gone.png"],
            "TEXT": [" one ", "two", "again", "three"],
            "licence": ["CC0", "CC-BY", "CC-BY", "CC0"],
            "likes": [1, 2, 3, 4],
        }
    )
    captions = source / f"captions.{kind}"
    if kind == "parquet":
        pq.write_table(table, captions)
    else:
        with captions.open("w", newline="") as file:
            writer = csv.DictWriter(file, table.column_names)
            writer.writeheader()
            writer.writerows(table.to_pylist())
    plan, _ = ingest(corpus, source, captions=str(captions))
    found = {row["key"]: row for row in rows(corpus)}
    assert found["a.png"]["source.caption"] == "one"
    assert found["d/b.png"]["source.caption"] == "two"
    assert found["c.png"]["source.caption"] == "from the sidecar"
    assert found["d/b.png"]["source.licence"] == "CC-BY"
    assert found["d/b.png"]["source.likes"] == 2
    assert found["c.png"]["source.likes"] is None
    assert "1 rows of the captions table name a file again" in plan.notes[0]
    assert "1 rows of the captions table name no image" in plan.notes[1]
    assert plan.skipped == {}


def test_wrong_captions_tables_are_refused(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": picture(1)})
    put(tmp_path, {"no_file.csv": "x,caption\n1,b\n", "other.csv": "file,caption\nz.png,b\n"})
    with pytest.raises(RequestError, match=r"its columns are x, caption.*ingest.file_column"):
        ingest(corpus, source, captions=str(tmp_path / "no_file.csv"))
    with pytest.raises(RequestError, match="names an image"):
        ingest(corpus, source, captions=str(tmp_path / "other.csv"))
    with pytest.raises(RequestError, match=r"caption_column='nix'.*file, caption"):
        ingest(corpus, source, captions=str(tmp_path / "other.csv"), caption_column="nix")
    with pytest.raises(RequestError, match="there is no file"):
        ingest(corpus, source, captions=str(tmp_path / "missing.csv"))


def test_folders_without_images_are_refused(corpus, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RequestError, match="no images; the folder is empty"):
        ingest(corpus, empty)
    other = put(
        tmp_path / "o", {"a.svg": "", "b/c.svg": "", "d.svg": "", "README": "", "e.txt": ""}
    )
    with pytest.raises(RequestError, match=r"found 5 files .* \.svg 3, \(none\) 1, \.txt 1"):
        ingest(corpus, other)
    with pytest.raises(RequestError, match="no such file or folder"):
        ingest(corpus, tmp_path / "nowhere")
    assert claim_numbers(corpus.store) == []


def test_ingesting_again_adds_only_what_is_new(corpus, tmp_path):
    source = put(tmp_path / "p", {f"{i}.png": picture(i) for i in range(5)})
    ingest(corpus, source, images_per_shard=2)
    before = tree(tmp_path / "corpus")
    assert corpus.shards() == [0, 1, 2]
    plan, counts = ingest(corpus, source, images_per_shard=2)
    assert (plan.found, plan.already, plan.new, plan.todo, counts) == (5, 5, 0, [], [])
    assert tree(tmp_path / "corpus") == before
    put(source, {"00.png": picture(9), "3.txt": "too late"})
    plan, _ = ingest(corpus, source, images_per_shard=2)
    assert (plan.found, plan.already, plan.new, plan.todo) == (6, 5, 1, [3])
    assert [row["key"] for row in rows(corpus)][-1] == "00.png"
    assert before.items() <= tree(tmp_path / "corpus").items()


def test_limit_sample_and_dry_run(corpus, tmp_path):
    source = put(tmp_path / "p", {f"{i:03d}.png": picture(i) for i in range(200)})
    wanted = IngestSettings(source=str(source), images_per_shard=50)
    plan = plan_ingest(corpus, wanted, dry_run=True)
    assert (plan.new, plan.new_shards, plan.todo) == (200, 4, [])
    assert claim_numbers(corpus.store) == []
    plan = plan_ingest(corpus, wanted, limit=3)
    assert read_claim(corpus, 0).rows["key"].to_pylist() == ["000.png", "001.png", "002.png"]
    plan = plan_ingest(corpus, wanted, sample=0.25)
    assert 25 <= plan.found <= 75
    again = plan_ingest(corpus, wanted, sample=0.25)
    assert (again.found, again.new) == (plan.found, 0)
    more = plan_ingest(corpus, wanted, sample=0.5, dry_run=True)
    assert more.already >= plan.found  # a larger sample holds the smaller one
    for wrong in ({"limit": 0}, {"sample": 0.0}, {"sample": 1.5}):
        with pytest.raises(RequestError, match="must be"):
            plan_ingest(corpus, wanted, **wrong)


def test_a_killed_ingest_is_completed(corpus, tmp_path):
    source = put(tmp_path / "p", {f"{i}.png": picture(i) for i in range(4)})
    wanted = IngestSettings(source=str(source), images_per_shard=2)
    assert plan_ingest(corpus, wanted).todo == [0, 1]
    build_shard(corpus, 1)
    plan = plan_ingest(corpus, wanted)
    assert (plan.new, plan.todo) == (0, [0])
    other = put(tmp_path / "other", {"x.png": picture()})
    assert plan_ingest(corpus, IngestSettings(source=str(other))).todo == [2]


def test_a_kill_between_the_tar_and_the_records(corpus, tmp_path, monkeypatch):
    source = put(
        tmp_path / "p", {"a.png": picture(1), "b.png": picture(2), "b.txt": "b", "c.png": ""}
    )
    reference = Corpus(str(tmp_path / "reference"), create=True)
    ingest(reference, source)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build_module, "derive_records", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(corpus, source)
    assert corpus.store.exists(tar_name(0))
    assert corpus.shards() == []
    # What the source says now no longer counts: the tar does.
    put(source, {"a.png": picture(3), "b.txt": "another", "c.png": picture(4)})
    _, counts = ingest(corpus, source)
    assert counts == [
        {
            "rows": 3,
            "images": 2,
            "failed": 1,
            "bytes": 2 * len(picture()),
            "reasons": {"empty_file": 1},
        }
    ]
    assert tree(tmp_path / "corpus") == tree(tmp_path / "reference")
    assert build_shard(corpus, 0) == counts[0]


def test_a_foreign_tar_is_refused(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": picture(1)})
    put(tmp_path / "q", {"z.png": picture(2)})
    other = Corpus(str(tmp_path / "other"), create=True)
    ingest(other, tmp_path / "q")
    put(tmp_path / "corpus", {tar_name(0): other.store.read(tar_name(0))})
    with pytest.raises(CorpusError, match="is not the tar of"):
        ingest(corpus, source)
    put(tmp_path / "corpus", {tar_name(0): other.store.read(tar_name(0))[:600]})
    with pytest.raises(CorpusError, match="damaged"):
        ingest(corpus, source)


def test_rows_that_fail_are_records(corpus, tmp_path):
    names = ("gone", "folder", "empty", "large", "link", "fine")
    source = put(tmp_path / "p", {f"{name}.png": picture() for name in names})
    put(tmp_path, {"secret.png": picture(9)})
    (source / "empty.png").write_bytes(b"")
    (source / "large.png").write_bytes(b"x" * 5000)
    plan = plan_ingest(corpus, IngestSettings(source=str(source), max_bytes=4000))
    (source / "gone.png").unlink()
    (source / "folder.png").unlink()
    (source / "folder.png").mkdir()
    (source / "link.png").unlink()
    (source / "link.png").symlink_to(tmp_path / "secret.png")
    counts = build_shard(corpus, plan.todo[0])
    found = {row["key"]: row for row in rows(corpus)}
    assert {key: row["error"] for key, row in found.items()} == {
        "empty.png": "empty_file",
        "fine.png": None,
        "folder.png": "unreadable",
        "gone.png": "missing_file",
        "large.png": "too_large",
        "link.png": "missing_file",
    }
    assert "leads out" in found["link.png"]["detail"]
    assert found["large.png"]["file"] is None
    assert found["fine.png"]["row"] == 1
    assert counts["failed"] == 5


def test_a_shard_without_any_image_has_an_empty_tar(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": b""})
    ingest(corpus, source)
    footer = next(iter(corpus.records.metadata(0)))
    assert corpus.store.size(tar_name(0)) == int(footer["tar_size"])
    with tarfile.open(tmp_path / "corpus" / tar_name(0)) as tar:
        assert tar.getnames() == ["outcomes.json"]


def test_a_source_that_is_gone_fails_the_shard_not_its_rows(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": picture()})
    plan = plan_ingest(corpus, IngestSettings(source=str(source)))
    source.rename(tmp_path / "moved")
    with pytest.raises(CorpusError, match="is gone"):
        build_shard(corpus, plan.todo[0])
    assert corpus.shards() == []


def test_links_that_lead_out_are_not_followed(corpus, tmp_path):
    put(tmp_path, {"secret/s.png": picture(9)})
    source = put(tmp_path / "p", {"real.png": picture(1), "d/e.png": picture(2)})
    (source / "inside.png").symlink_to(source / "real.png")
    (source / "out.png").symlink_to(tmp_path / "secret" / "s.png")
    (source / "outdir").symlink_to(tmp_path / "secret")
    (source / "circle").symlink_to(source)
    (source / "circle2").symlink_to(source / "d")
    plan, _ = ingest(corpus, source)
    assert [row["key"] for row in rows(corpus)] == ["d/e.png", "inside.png", "real.png"]
    assert "3 symbolic links lead out" in plan.notes[0]
    assert "1 symbolic links to folders" in plan.notes[1]


def test_names_that_are_no_utf8(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": picture(1)})
    name = os.fsencode(source) + b"/\xff\xfe.png"
    with open(name, "wb") as file:  # noqa: PTH123
        file.write(picture(2))
    ingest(corpus, source)
    assert [row["key"] for row in rows(corpus)] == [r"\xff\xfe.png", "a.png"]
    assert all(row["error"] is None for row in rows(corpus))


def test_two_sources_of_one_name_do_not_hide_each_other(corpus, tmp_path):
    one = put(tmp_path / "x" / "images", {"a.png": picture(1)})
    two = put(tmp_path / "y" / "images", {"a.png": picture(2)})
    ingest(corpus, one)
    with pytest.raises(RequestError, match=r"'images' was taken by .*/x/images.*ingest\.name"):
        ingest(corpus, two)
    plan, _ = ingest(corpus, two, name="more images")
    assert plan.new == 1
    ids = [row["id"] for row in rows(corpus)]
    assert len(set(ids)) == 2
    plan, _ = ingest(corpus, two, name="images")  # said by name: the same source, moved
    assert plan.new == 0


def test_concurrent_claims_by_several_sources(corpus, tmp_path):
    sources = [
        put(tmp_path / f"s{n}", {f"{i}.png": picture(i) for i in range(12)}) for n in range(3)
    ]
    sources.append(sources[0])  # and one of them twice

    def claim(source):
        mine = Corpus(corpus.uri)
        return plan_ingest(mine, IngestSettings(source=str(source), images_per_shard=2))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(claim, sources))
    assert claim_numbers(corpus.store) == list(range(18))
    claims = [read_claim(corpus, number) for number in range(18)]
    ids = [i for claim in claims for i in claim.rows["id"].to_pylist()]
    assert len(ids) == len(set(ids)) == 36
    assert all(len(set(claim.rows["source"].to_pylist())) == 1 for claim in claims)


def test_an_ingest_that_loses_a_number_to_its_own_source_looks_again(corpus, tmp_path, monkeypatch):
    source = put(tmp_path / "p", {f"{i}.png": picture(i) for i in range(6)})
    from nucleus_data.stages.ingest import plan as plan_module

    real, raced = plan_module._known_ids, []

    def known_then_race(*arguments):
        known = real(*arguments)
        if not raced:
            raced.append(True)
            plan_ingest(corpus, IngestSettings(source=str(source), images_per_shard=4), limit=4)
        return known

    monkeypatch.setattr(plan_module, "_known_ids", known_then_race)
    plan = plan_ingest(corpus, IngestSettings(source=str(source), images_per_shard=2))
    claims = [read_claim(corpus, number) for number in claim_numbers(corpus.store)]
    keys = [key for claim in claims for key in claim.rows["key"].to_pylist()]
    assert sorted(keys) == [f"{i}.png" for i in range(6)]
    assert (plan.found, plan.already, plan.new) == (6, 4, 2)


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="surce"):
        IngestSettings(source="x", surce="y")
    with pytest.raises(ValidationError, match="images_per_shard"):
        IngestSettings(source="x", images_per_shard=0)
    with pytest.raises(ValidationError, match="frozen"):
        IngestSettings(source="x").source = "y"


def test_a_claim_holds_no_credentials(corpus, tmp_path):
    source = put(tmp_path / "p", {"a.png": picture()})
    options = {"auto_mkdir": True}
    plan_ingest(corpus, IngestSettings(source=str(source), storage_options=options))
    assert b"auto_mkdir" not in b"".join(tree(tmp_path / "corpus").values())


def test_an_object_store_as_corpus_and_as_source(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.store.clear()
    files = {"a/1.png": picture(1), "2.png": picture(2), "2.txt": "two", "x.svg": b""}
    for name, data in files.items():
        memory.pipe_file(f"/src/{name}", data if isinstance(data, bytes) else data.encode())
    remote = Corpus("memory://corpus", create=True)
    plan, _ = ingest(remote, "memory://src")
    assert (plan.source, plan.found, plan.skipped) == ("src", 2, {".svg": 1})
    local = Corpus(str(tmp_path / "c"), create=True)
    ingest(local, put(tmp_path / "src", files))
    assert remote.store.read(tar_name(0)) == local.store.read(tar_name(0))
    assert remote.records.read(0).equals(local.records.read(0))
    memory.store.clear()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 100), min_size=1, max_size=60),
    most_rows=st.integers(1, 20),
    most_bytes=st.integers(1, 300),
)
def test_chunks_keep_order_and_limits(tmp_path, sizes, most_rows, most_bytes):
    path = tmp_path / "rows.parquet"
    table = pa.table({"position": range(len(sizes)), "n": range(len(sizes)), "size": sizes})
    pq.write_table(table, path)
    cut = list(chunks(path, most_rows, most_bytes))
    assert [n for part in cut for n in part["n"].to_pylist()] == list(range(len(sizes)))
    for place, part in enumerate(cut):
        total = np.sum(part["size"].to_numpy())
        assert 0 < len(part) <= most_rows
        assert total <= most_bytes or len(part) == 1
        if place + 1 < len(cut):  # no shard is closed before it must be
            assert len(part) == most_rows or total + cut[place + 1]["size"][0].as_py() > most_bytes


def test_work_folders_come_and_go_at_once(tmp_path):
    corpus = Corpus(str(tmp_path / "c"), create=True)
    wrong = []

    def work(number):
        for _ in range(200):
            try:
                with work_folder(corpus, number) as folder:
                    (folder / "x").write_bytes(b"x")
            except OSError as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list((tmp_path / "c/incoming").iterdir()) == []
    remove_empty(corpus)
    assert not (tmp_path / "c/incoming").exists()
