import json

import pytest

from nucleus_data.corpus import runs
from nucleus_data.corpus.runs import RunFolder, indented
from nucleus_data.corpus.store import Store
from tests.support import curated
from tests.support.stepped import BARE, curate, stage_lines, three_shards


@pytest.fixture
def corpus(tmp_path):
    return three_shards(tmp_path / "c")


@pytest.mark.slow
def test_a_later_run_takes_over_what_earlier_ones_say_of_their_stages(corpus):
    first, _ = curate(corpus)
    second = curated.run(corpus.uri, "shard", BARE)
    second.do("shard")
    second.folder.inherit(("inspect", "dedup", "select", "shard"))
    lines = stage_lines(second)
    assert [line["stage"] for line in lines] == ["inspect", "dedup", "select", "shard"]
    assert lines[0] == first.lines[0]


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def run_folder(store, name, *stages, failed=()):
    """A run of that name: its stages, and the shards that failed of the last one."""
    folder = RunFolder(store, name)
    for stage in stages:
        mine = failed if stage == stages[-1] else ()
        folder.add_stage({"stage": stage, "run": name, "failed_shards": len(mine)})
    if failed:
        folder.add_failures([{"stage": stages[-1], "shard": n} for n in failed])
    return folder


def test_a_run_s_folder_belongs_to_one_run(store):
    folders = [RunFolder.claim(store, "inspect") for _ in range(5)]
    names = [folder.name for folder in folders]
    assert len(set(names)) == 5
    assert names == sorted(names)
    assert all("-inspect" in name for name in names)
    assert list(runs.earlier(store, names[3])) == names[2::-1]


def test_lines_are_read_back_as_they_were_noted(store):
    folder = run_folder(store, "1", "inspect", "dedup", failed=[4])
    assert runs.stage_lines(store, "1") == folder.stages
    assert [line["stage"] for line in folder.stages] == ["inspect", "dedup"]
    assert runs.stage_lines(store, "2") == []
    assert runs.read_lines(store, folder.path(runs.FAILURES)) == (folder.failures, 0)
    store.put("runs/1/cut.jsonl", b'{"a": 1}\n\n[2]\n{"b')
    assert runs.read_lines(store, "runs/1/cut.jsonl") == ([{"a": 1}], 2)


def test_the_newest_run_of_a_stage_says_which_shards_failed(store):
    run_folder(store, "1", "inspect", failed=[7, 3])
    run_folder(store, "2", "dedup")  # says nothing about inspect
    now = RunFolder(store, "5")
    assert now.newest_failed_shards("inspect") == [3, 7]
    assert now.newest_failed_shards("caption") == []
    run_folder(store, "6", "inspect", failed=[1])  # began later
    assert now.newest_failed_shards("inspect") == [3, 7]
    run_folder(store, "3", "inspect")  # all was done since
    assert now.newest_failed_shards("inspect") == []


def test_what_is_taken_over_is_the_newest_and_not_what_the_run_did_itself(store):
    store.put("runs/1/quick_train/samples.png", b"p")
    store.put("runs/1/quick_train/step-10.pt", b"a checkpoint")
    run_folder(store, "1", "inspect", "quick_train")
    run_folder(store, "2", "inspect", "what-if")
    folder = run_folder(store, "3", "dedup")
    folder.inherit(("inspect", "dedup", "quick_train"))
    found = [(line["stage"], line["run"]) for line in runs.stage_lines(store, "3")]
    assert found == [("inspect", "2"), ("dedup", "3"), ("quick_train", "1")]
    assert store.read("runs/3/quick_train/samples.png") == b"p"
    assert not store.exists("runs/3/quick_train/step-10.pt")


def test_plans_are_read_newest_first_and_those_that_are_cut_left_out(store):
    for name in ("1", "2", "3"):
        RunFolder(store, name).write_plan({"tables": {"a": name}})
    store.put("runs/2/plan.json", b'{"tables": ')
    store.put("runs/4/owner", b"x")
    assert [(name, plan["tables"]["a"]) for name, plan in runs.plans(store)] == [
        ("3", "3"),
        ("1", "1"),
    ]
    assert runs.read_json(store, "runs/4/plan.json") == {}


@pytest.mark.parametrize("text", ["é\x00\u2028", "\udcff.png"])
def test_json_for_people_is_that_of_json_dumps(text):
    content = {"b": [], "a": {}, text: [1, 2.5, True, None, text, {"y": {}, "x": [[-0.25]]}]}
    assert indented(content).decode() == json.dumps(content, sort_keys=True, indent=1)
