import json

import pytest

from nucleus_data.corpus.store import Store
from nucleus_data.stages.train.mirror import Mirror, place, steps_done
from nucleus_model.settings.settings import QuickTrainSettings


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def names(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.*") if p.is_file()
    }


FIRST = {
    "checkpoints/000003/model.safetensors": "three",
    "checkpoints/000003/trainer.json": "{}",
    "metrics.jsonl": "1\n2\n3\n",
    "samples/000002.png": "two",
}


def test_what_was_pushed_is_fetched_elsewhere_and_cleared_in_the_end(store, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, FIRST | {".metrics.jsonl.part": "torn", "checkpoints/.000004.x/a.json": "torn"})
    Mirror(store, "training/x", here).push(here / "checkpoints" / "000003")
    assert steps_done(store, "training/x") == 3
    mirror = Mirror(store, "training/x", there)
    mirror.fetch()
    assert names(there) == FIRST
    mirror.clear()
    assert steps_done(store, "training/x") == 0
    assert [p for p in (tmp_path / "store").rglob("*") if p.is_file()] == []


def test_what_is_gone_here_goes_there_and_what_grew_grows(store, tmp_path):
    here = tmp_path / "here"
    write(here, FIRST)
    mirror = Mirror(store, "x", here)
    mirror.push(here / "checkpoints" / "000003")
    (here / "checkpoints/000003/trainer.json").unlink()
    write(here, {"checkpoints/000006/trainer.json": "six", "metrics.jsonl": "1\n6\n"})
    mirror.push(here / "checkpoints" / "000006")
    expected = {k: v for k, v in FIRST.items() if "trainer" not in k}
    expected |= {"checkpoints/000006/trainer.json": "six", "metrics.jsonl": "1\n6\n"}
    found = names(tmp_path / "store" / "x")
    assert json.loads(found.pop("latest.json"))["files"] == sorted(expected)
    assert found == expected


def test_a_push_that_was_killed_counts_for_nothing(store, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, FIRST)
    mirror = Mirror(store, "x", here)
    mirror.push(here / "checkpoints" / "000003")
    write(here, {"checkpoints/000006/trainer.json": "six", "metrics.jsonl": "1\n6\n"})
    put = store.put

    def killed(name, data):
        if name.endswith("latest.json"):
            raise KeyboardInterrupt
        put(name, data)

    monkeypatch.setattr(store, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        mirror.push(here / "checkpoints" / "000006")
    monkeypatch.undo()
    Mirror(store, "x", there).fetch()
    assert names(there) == FIRST | {"metrics.jsonl": "1\n6\n"}  # the trainer drops what is later
    write(there, {"checkpoints/000006/trainer.json": "again"})
    after = Mirror(store, "x", there)
    after.fetch()
    after.push(there / "checkpoints" / "000006")
    assert store.read("x/checkpoints/000006/trainer.json") == b"again"


def test_what_is_gone_here_stays_there_until_the_newer_is_whole(store, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, FIRST)
    mirror = Mirror(store, "x", here)
    mirror.push(here / "checkpoints" / "000003")
    (here / "checkpoints/000003/trainer.json").unlink()
    write(here, {"checkpoints/000006/trainer.json": "six"})
    put = store.put

    def killed(name, data):
        if name.endswith("latest.json"):
            raise KeyboardInterrupt
        put(name, data)

    monkeypatch.setattr(store, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        mirror.push(here / "checkpoints" / "000006")
    monkeypatch.undo()
    Mirror(store, "x", there).fetch()
    assert names(there) == FIRST


def test_a_place_follows_what_decides_the_losses():
    settings = QuickTrainSettings()
    same = settings.model_copy(update={"threads": 3, "checkpoint_every": 1})
    assert place("sets/a/1", same) == place("sets/a/1", settings)
    others = [
        place("sets/b/1", settings),
        place("sets/a/1", settings.model_copy(update={"lr": 1.0})),
    ]
    assert place("sets/a/1", settings) not in others


def test_a_training_of_today_is_found_by_the_next_version():
    """A setting that came since is marked `ADDED`; else an unfinished training would be lost."""
    phases = QuickTrainSettings.model_validate(
        {"phases": [{"steps": 3}, {"steps": 4, "lr_factor": 0.5}]}
    )
    assert place("sets/a/1", QuickTrainSettings()) == "training/171a5c2b9dc1492a"
    assert place("sets/a/1", phases) == "training/c3b45bf0e64e4ade"
