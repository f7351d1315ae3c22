import hashlib
import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import ANY

import fsspec
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sets.columns import Columns
from nucleus_data.sets.layout import SetFolder
from nucleus_data.views import export_set
from nucleus_data.views.export_asked import asked
from nucleus_data.views.export_files import KINDS
from tests.support import commands
from tests.support.command import nucleus
from tests.support.quick import quick
from tests.support.sets import add_columns, add_edition, make_set, members

HASH = "abcd1234abcd1234"


@pytest.fixture
def made(tmp_path):
    return make_set(tmp_path / "c/sets/train" / HASH, {"32/1x1": 6, "64/1x1": 5, "64/4x3": 2})


def content(folder):
    """Path below a folder -> SHA-256, of links too."""
    files = (p for p in Path(folder).rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def export(made, out, kind="webdataset", **options):
    said = []
    one = asked(made.url(), kind, "", {}, out=str(out), **options)
    assert one.run(said.append), one.failed
    return one, said


def captions_of(made, resolution):
    found = {}
    for entry in made.manifest():
        if entry.resolution == resolution:
            for row in made.edition().captions(entry.path).to_pylist():
                found[row["id"]] = row["captions"]
    return found


def test_tars_have_picture_facts_and_caption_of_every_sample(made, tmp_path):
    _, said = export(made, tmp_path / "out")
    out = SetFolder(Store(str(tmp_path / "out")))
    expected = captions_of(made, 64)
    for entry in made.manifest():
        stored, joined = members(made, entry.path), members(out, entry.path)
        assert list(stored) == list(joined)
        for key, files in joined.items():
            assert list(files) == ["jpg", "json", "txt"]
            assert files["jpg"] == stored[key]["jpg"]
            facts = json.loads(files["json"])
            assert json.loads(stored[key]["json"]).items() <= facts.items()
            assert {"captions", "caption_sources", "tier", "curriculum", "pleasant"} < set(facts)
            if entry.resolution == 64:
                assert facts["captions"] == expected[key]
                assert files["txt"].decode() == (expected[key] or [""])[-1]
    wids = json.loads((tmp_path / "out/wids-64.json").read_text())
    assert [s["nsamples"] for s in wids["shardlist"]] == [4, 1, 2]
    assert (tmp_path / "out" / wids["shardlist"][0]["url"]).exists()
    assert said[-4:] == [
        f"export: train as webdataset, captions source, short ({'e' * 16})",
        "  32: 6 of 6 samples; 1 have no caption",
        "  64: 7 of 7 samples; 1 have no caption",
        "  5 files",
    ]


def test_parquet_has_pictures_as_datasets_lays_them(made, tmp_path):
    export(made, tmp_path / "out", "parquet")
    expected = captions_of(made, 64)
    found = {}
    for entry in made.manifest():
        table = pq.read_table(tmp_path / "out" / entry.path.replace(".tar", ".parquet"))
        told = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        assert told["image"] == {"_type": "Image"}
        assert table.column_names[:3] == ["id", "image", "text"]
        assert set(told) == set(table.column_names)
        stored = members(made, entry.path)
        for row in table.to_pylist():
            assert row["image"] == {"bytes": stored[row["id"]]["jpg"], "path": f"{row['id']}.jpg"}
            assert row["original_width"] == 2 * entry.width
            if entry.resolution == 64:
                found[row["id"]] = row["captions"]
                assert row["text"] == (row["captions"] or [""])[-1]
    assert found == expected
    head = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---\n")[1])
    assert [c["config_name"] for c in head["configs"]] == ["64", "32"]
    names = [f["name"] for f in head["dataset_info"][0]["features"]]
    assert names == table.column_names


def test_the_index_of_webshart_finds_pictures_in_the_sets_own_tars(made, tmp_path):
    export(made, tmp_path / "out", "webshart")
    expected = captions_of(made, 64)
    for entry in made.manifest():
        index = json.loads((tmp_path / "out" / entry.path.replace(".tar", ".json")).read_text())
        tar = Path(made.url(entry.path)).read_bytes()
        stored = members(made, entry.path)
        assert (index["filesize"], list(index["files"])) == (
            len(tar),
            [f"{key}.jpg" for key in stored],
        )
        for name, place in index["files"].items():
            key = name.partition(".")[0]
            assert tar[place["offset"] :][: place["length"]] == stored[key]["jpg"]
            assert tar[place["json_offset"] :][: place["json_length"]] == stored[key]["json"]
            opened = Image.open(io.BytesIO(stored[key]["jpg"]))
            assert opened.size == (place["width"], place["height"])
            if entry.resolution == 64:
                assert place["captions"] == expected[key]


def test_energon_gets_captions_alone_and_the_sets_tars_as_links(made, tmp_path):
    export(made, tmp_path / "out", "energon", resolutions=[64])
    out = tmp_path / "out"
    found = {}
    for entry in made.manifest():
        if entry.resolution == 64:
            _, aspect, name = entry.path.split("/")
            link = out / "64/pictures" / aspect / name
            assert link.resolve() == Path(made.url(entry.path))
            with tarfile.open(out / "64/captions" / aspect / name) as tar:
                for member in tar:
                    key, _, ending = member.name.partition(".")
                    assert ending == "txt"
                    found[key] = tar.extractfile(member).read().decode()
    assert found == {key: (said or [""])[-1] for key, said in captions_of(made, 64).items()}
    joined = yaml.safe_load((out / "64/metadataset.yaml").read_text())["splits"]["train"]
    assert joined["join"] == [{"path": "captions"}, {"path": "pictures"}]
    assert not (out / "32").exists()
    script = (out / "prepare.sh").read_text()
    assert script.count("energon prepare") == 3
    assert {".nv-meta"}.isdisjoint(p.name for p in Path(made.url()).rglob("*"))


@pytest.mark.parametrize("kind", quick(KINDS, 1))
def test_samples_without_a_caption_are_counted_and_left_out_if_asked(made, tmp_path, kind):
    _, said = export(made, tmp_path / "out", kind, captioned=True)
    assert "  32: 5 of 6 samples; 1 have no caption, 1 left out for this" in said
    whole = json.loads((tmp_path / "out/export.json").read_text())
    assert whole["sums"]["64"] == {"samples": 6, "without": 1, "left_out": 1}
    # The tar whose only sample has no caption becomes no file.
    (empty,) = [file for file in whole["files"] if not file["samples"]]
    assert not (tmp_path / "out" / empty["path"]).exists()
    assert "  4 files" in said


def test_the_same_set_gives_the_same_bytes_and_a_stopped_export_goes_on(
    made, tmp_path, monkeypatch
):
    export(made, tmp_path / "one", workers=1)
    write, done = export_set.write, []

    def stops(kind, joining, entry, file):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(entry.path)
        return write(kind, joining, entry, file)

    monkeypatch.setattr(export_set, "write", stops)
    with pytest.raises(KeyboardInterrupt):
        export(made, tmp_path / "two", workers=1)
    assert not (tmp_path / "two/export.json").exists()
    first = {p: (tmp_path / "two" / p).stat().st_mtime_ns for p in done}
    # Of one of them the note is lost, as if the kill had come before it.
    (tmp_path / "two/_done" / (done[0].replace("/", "-").replace(".tar", ".json"))).unlink()
    monkeypatch.setattr(export_set, "write", write)
    export(made, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert first == {p: (tmp_path / "two" / p).stat().st_mtime_ns for p in done}
    before = content(tmp_path / "two")
    _, said = export(made, tmp_path / "two")
    assert said[0] == "export: already complete"
    assert content(tmp_path / "two") == before
    assert not any(name.startswith(("_", ".")) for name in before)


@pytest.mark.slow
def test_two_exports_at_once_and_one_in_a_store_are_the_same(made, tmp_path):
    export(made, tmp_path / "one")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: export(made, tmp_path / "two"), range(2)))
    assert content(tmp_path / "one") == content(tmp_path / "two")
    memory = fsspec.filesystem("memory")
    export(made, "memory://export")
    stored = {
        path.removeprefix("/export/"): memory.cat_file(path) for path in memory.find("/export")
    }
    memory.rm("/export", recursive=True)
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in stored.items()}
    assert digests == content(tmp_path / "one")


@pytest.mark.slow
def test_an_export_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    made = make_set(tmp_path / "c/sets/train" / HASH, {"32/1x1": 60}, a_tar=2)
    export(made, tmp_path / "one")
    out, log = tmp_path / "two", tmp_path / "log"
    arguments = ["export", made.url(), "--as", "webdataset", "--out", str(out), "--workers", "1"]
    for wanted in (1, 8, 20):
        process = commands.start(*arguments, log=log)
        commands.wait_for(lambda n=wanted: len(list(out.rglob("*.tar"))) >= n, process, log)
        process.kill()
        process.wait()
    assert not (out / "export.json").exists()
    commands.nucleus(*arguments, log=log)
    assert content(out) == content(tmp_path / "one")


def test_a_damaged_sample_fails_its_file_alone_and_is_named(made, tmp_path):
    entry = made.manifest()[0]
    place = made.index(entry.path).to_pylist()[1]
    whole = Path(made.url(entry.path)).read_bytes()
    at = place["offset"] + 20
    Path(made.url(entry.path)).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    arguments = ["export", made.url(), "--as", "parquet", "--out", tmp_path / "out"]
    said = nucleus(*arguments, code=1)
    assert place["id"] in said
    assert "1 files could not be written" in said
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == 4
    assert not (tmp_path / "out/export.json").exists()
    Path(made.url(entry.path)).write_bytes(whole)
    assert nucleus(*arguments).splitlines()[-1] == str(tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tar_that_is_missing_fails_its_file_alone_and_is_named(made, tmp_path, kind):
    first = made.manifest()[0].path
    gone = Path(made.url(first))
    gone.unlink()
    one = asked(made.url(), kind, "", {}, out=str(tmp_path / "out"))
    whole = kind in ("energon", "webshart")  # these need captions and the index alone
    assert one.run(lambda _: None) is whole
    assert one.failed == ([] if whole else [ANY])
    assert whole or f"{first}: {gone} is missing; restore a copy" in one.failed[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_without_samples_is_an_export_without_files(made, tmp_path, kind):
    manifest = made.url("manifest.parquet")
    pq.write_table(pq.read_table(manifest).slice(0, 0), manifest)
    _, said = export(made, tmp_path / "out", kind)
    assert said[-1] == "  0 files"
    assert json.loads((tmp_path / "out/export.json").read_text())["files"] == []


def test_what_is_there_is_not_mixed_with_another_export(made, tmp_path):
    export(made, tmp_path / "out")
    with pytest.raises(RequestError, match=r"holds another export \(different: as\)"):
        export(made, tmp_path / "out", "parquet")
    rows = [{"path": entry.path} for entry in made.manifest()]
    add_edition(made, rows, config_hash="f" * 16, name="other")
    with pytest.raises(RequestError, match=r"another export \(different: captions\)"):
        export(made, tmp_path / "out", captions="other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("mine")
    with pytest.raises(RequestError, match="is not empty, but holds no export"):
        export(made, tmp_path / "mine", captions="other")
    with pytest.raises(RequestError, match="has no resolution 128; available: 32, 64"):
        export(made, tmp_path / "new", captions="other", resolutions=[128])


def test_a_set_its_edition_and_columns_are_found_by_name_hash_or_folder(made, tmp_path):
    corpus = str(tmp_path / "c")
    for target in ("train", f"train/{HASH}", "abcd", f"sets/train/{HASH}", made.url()):
        one = asked(target, "parquet", corpus, {})
        assert one.joining.hash == HASH
        assert one.joining.name == "train"
        assert one.joining.columns.hash == "c" * 16
        name = f"{HASH}-{'e' * 16}-{'c' * 16}-parquet"
        assert one.out.uri == f"{corpus}/exports/train/{name}"
    assert asked("train", "parquet", corpus, {}, columns="none").joining.columns is None
    with pytest.raises(RequestError, match=f"is not a training set; available: train/{HASH}"):
        asked("nano", "parquet", corpus, {})
    with pytest.raises(RequestError, match="is not a training set"):
        asked(str(tmp_path), "parquet", "", {})
    with pytest.raises(RequestError, match="--out FOLDER"):
        asked(made.url(), "parquet", "", {})
    (tmp_path / "file").write_text("x")
    for out in ("file", "file/out"):
        with pytest.raises(RequestError, match=f"--out .*/{out}: .*/file is a file; give a folder"):
            asked(made.url(), "parquet", "", {}, out=str(tmp_path / out))
    with pytest.raises(RequestError, match="cannot open '': it is empty"):
        asked(made.url(), "parquet", "", {}, out="")
    make_set(tmp_path / "c/sets/train/ffff0000ffff0000", {"32/1x1": 1})
    with pytest.raises(RequestError, match="several training sets"):
        asked("train", "parquet", corpus, {})
    assert asked("ffff", "parquet", corpus, {}).joining.hash == "ffff0000ffff0000"
    rows = [{"path": entry.path} for entry in made.manifest()]
    assert isinstance(add_columns(made, rows, config_hash="d" * 16), Columns)
    with pytest.raises(RequestError, match="several index columns"):
        asked("abcd", "parquet", corpus, {})


def test_the_command_says_which_options_are_of_sets(tmp_path):
    for option in (["--captions", "x"], ["--out", "x"], ["--resolution", "64"], ["--captioned"]):
        said = nucleus("export", "x.csv", *option, code=2)
        assert f"{option[0]} can only be used with --as webdataset|parquet|webshart|energon" in said
    assert "contains kept records only" in nucleus(
        "export", "x", "--as", "parquet", "--state", "kept", code=2
    )
