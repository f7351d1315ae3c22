"""What a takedown does not reach is named: exports and trainings; an export tells it itself."""

import json
import shutil
from pathlib import Path

import pytest

from nucleus_data.corpus.exported import exports, note_export
from nucleus_data.corpus.store import Store
from nucleus_data.errors import RequestError
from nucleus_data.sets.layout import SetFolder
from nucleus_data.stages.dedup.settings import DedupSettings
from nucleus_data.stages.upkeep.export_check import is_export, verify_export
from nucleus_data.stages.upkeep.request import Request
from nucleus_data.stages.upkeep.takedown import forecast, take_down
from nucleus_data.stages.upkeep.verify import UPKEEP
from nucleus_data.views.export_asked import asked
from nucleus_data.views.export_files import KINDS
from tests.support import curated
from tests.support.quick import quick
from tests.support.upkept import PATH, corpus_with_set, ident


@pytest.fixture
def made(tmp_path):
    return corpus_with_set(tmp_path)


def export(folder, out, kind="webdataset", **options):
    one = asked(folder.url(), kind, "", {}, out=str(out), **options)
    said = []
    assert one.run(said.append), one.failed
    return said


def taken(corpus, *places):
    run, said = curated.run(corpus.uri, "takedown", said=(said := [])), said
    assert take_down(run, Request.of([ident(*p) for p in places]), DedupSettings()), run.failures
    return said


def done(corpus):
    (name,) = corpus.store.list("takedowns")
    return json.loads(corpus.store.read(f"takedowns/{name}/done.json"))


@pytest.mark.slow
def test_exports_of_the_set_and_trainings_on_it_are_named(made, tmp_path):
    corpus, folder = made
    export(folder, tmp_path / "one")
    export(folder, tmp_path / "gone", "energon")
    shutil.rmtree(tmp_path / "gone")
    note_export(corpus.store, str(tmp_path / "one/wids-64.json"), {"as": "records"})
    note_export(corpus.store, str(tmp_path), {"as": "parquet", "set": "sets/other/0"})
    for run, made_of in (("one", PATH), ("two", "sets/other/0"), ("three", PATH)):
        corpus.store.put(f"runs/{run}/plan.json", json.dumps({"set": made_of}).encode())
        if run != "three":  # it trained nothing
            corpus.store.create(f"runs/{run}/quick_train/summary.json", b"{}")
    corpus.store.create("training/abc/latest.json", b"{}")
    run = curated.run(corpus.uri, "takedown", dry_run=True)
    request = Request.of([ident(0, 1), ident(1, 2)])
    told = "\n".join(forecast(run, request, DedupSettings()))
    said = "\n".join(taken(corpus, (0, 1), (1, 2)))
    for text in (told, said):
        assert f"{tmp_path / 'one'} (webdataset; up to 2 of them)" in text
        assert "gone" not in text
        assert "wids-64.json (records; perhaps some of them)" in text
        assert f"{tmp_path} (parquet; perhaps some of them)" in text
        assert f"runs/one/quick_train (on {PATH})" in text
        assert "training/abc (not finished)" in text
        assert "runs/two" not in text
        assert "runs/three" not in text
    found = done(corpus)
    assert [one["samples"] for one in found["exports"]] == [None, 2, None]
    assert [one["path"] for one in found["trainings"]] == ["runs/one/quick_train", "training/abc"]


def test_of_other_resolutions_and_samples_nothing_is_named(made, tmp_path):
    corpus, _ = made
    note_export(corpus.store, str(tmp_path), {"as": "parquet", "set": PATH, "resolutions": [128]})
    said = taken(corpus, (0, 1))
    assert not any("exports" in line or "trainings" in line for line in said)
    assert (done(corpus)["exports"], done(corpus)["trainings"]) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", quick(KINDS, 1))
def test_an_export_names_what_was_taken_down_and_is_not_taken_for_the_set(made, tmp_path, kind):
    corpus, folder = made
    out = tmp_path / "out"
    export(folder, out, kind)
    store = Store(str(out))
    assert is_export(store)
    run = curated.run(corpus.uri, "verify")
    assert verify_export(run, UPKEEP, store) == []
    taken(corpus, (0, 1), (1, 4))
    found = verify_export(run, UPKEEP, store)
    assert {(fault.kind, fault.sample) for fault in found} == {
        ("export_blocked", ident(0, 1)),
        ("export_blocked", ident(1, 4)),
    }
    assert corpus.store.find("verify") == []
    now = SetFolder(corpus.store, PATH)
    with pytest.raises(RequestError, match="as it was before a takedown; remove the folder"):
        export(now, out, kind)
    shutil.rmtree(out)
    export(now, out, kind)
    assert verify_export(run, UPKEEP, store) == []
    # One note a place.
    assert len([one for one in exports(corpus.store) if one["url"] == str(out)]) == 1


def test_files_of_an_export_that_are_damaged_missing_or_unfinished(made, tmp_path):
    corpus, folder = made
    out = tmp_path / "out"
    export(folder, out)
    run, store = curated.run(corpus.uri, "verify"), Store(str(out))
    (out / "64/1x1/000000.tar").unlink()
    damaged = out / "64/1x1/000001.tar"
    damaged.write_bytes(damaged.read_bytes().replace(b"web", b"wab", 1))
    (out / "64/1x1/000002.tar").write_bytes(b"no tar")
    found = {(fault.path[-10:], fault.detail[:12]) for fault in verify_export(run, UPKEEP, store)}
    assert found == {
        ("000000.tar", "it is missin"),
        ("000001.tar", "its SHA-256 "),
        ("000002.tar", "its SHA-256 "),
        ("000002.tar", "it cannot be"),
    }
    (out / "export.json").rename(out / "_export.json")
    (fault,) = verify_export(run, UPKEEP, store)
    assert "was not finished" in fault.detail


def test_where_nothing_can_be_noted_the_export_is_made_all_the_same(made, tmp_path, monkeypatch):
    corpus, folder = made
    alone = SetFolder(Store(str(shutil.copytree(folder.url(), tmp_path / "alone"))))
    assert "is not in a corpus" in "\n".join(export(alone, tmp_path / "two"))

    def refused(store, name, data):
        raise PermissionError("not yours")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", refused)
        line = note_export(corpus.store, "x", {})
    assert line is not None
    assert "not yours): a takedown will not list it" in line
    assert Path(corpus.uri, "exported").exists() is False
