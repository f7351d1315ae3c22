"""What is counted of two sets, and how the sentence states it."""

import json

from nucleus_model.training.verdict.facts import Copies, stated, unread

NOTHING = {"a": {}, "b": {}}


def copied(a, b, of=1000):
    return {"a": Copies(a, of), "b": Copies(b, of)}


def test_copies_are_stated_if_the_sets_differ_in_them():
    (more,) = stated(copied(0, 443), NOTHING)
    assert more == "44 % of B's pictures are copies of others in it (none of A's)"
    (fewer,) = stated(copied(91, 20), NOTHING)
    assert fewer == "9.1 % of A's pictures are copies of others in it (2 % of B's)"
    assert stated(copied(300, 305), NOTHING) == []
    assert stated(copied(0, 0, of=0), NOTHING) == []


def test_pictures_that_nobody_could_read_are_stated():
    lost = {"a": {}, "b": {"x": "cut", "y": "cut"}}
    assert stated(copied(0, 0), lost) == ["2 pictures of B could not be read"]


def test_each_run_finds_what_it_meets(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder, failures in zip(folders, ({"y": "cut"}, {"x": "empty", "y": "cut"}), strict=True):
        folder.mkdir()
        (folder / "summary.json").write_text(json.dumps({"failures": failures}))
    assert list(unread(folders).items()) == [("x", "empty"), ("y", "cut")]
