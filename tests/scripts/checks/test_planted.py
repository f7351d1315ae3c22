import re

import numpy as np
import pytest
import yaml

from nucleus_data.stages.caption.checks import Said
from nucleus_data.world.scenes import scene
from scripts.nano.training import SEEDS

checks = pytest.importorskip("scripts.checks.planted")
foreign = pytest.importorskip("scripts.checks.foreign")

SETS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in checks.SETS.glob("*.yaml")
}


def bench(phrases):
    return checks.Bench(None, [], phrases, np.random.default_rng(0))


def test_sets_have_the_same_kinds_and_no_world_or_phrase_in_common():
    assert len({frozenset(each) for each in SETS.values()}) == 1
    worlds = [each["world"] for each in SETS.values()]
    assert len({*worlds, *SEEDS.values()}) == len(worlds) + len(SEEDS)
    # Languages, special tokens, and how each language declines are few, so that sets share some.
    for kind in ("refusals", "chatter", "boilerplate"):
        said = [phrase for each in SETS.values() for phrase in each[kind]]
        assert len(set(said)) == len(said), kind


def test_one_of_each_choice_is_drawn():
    made = bench({"leak": ["{a|b} {c|d|} {caption}"]})
    drawn = {made.draw("leak") for _ in range(200)}
    assert drawn == {f"{one} {other} {{caption}}" for one in "ab" for other in ("c", "d", "")}


def test_an_answer_can_be_kept():
    said = Said("a ring", words=(2, 30), facts={"year": 1923}, language="en")
    one = checks.Planted("cut", said, frozenset(["cut", "words"]))
    assert checks.read_planted(checks.written(one)) == one


@pytest.mark.parametrize("language", sorted(foreign.words()))
def test_every_scene_can_be_told_in_every_language(language):
    if language != "english":
        for index in range(40):
            assert not re.search(r"[{}]", foreign.foreign(scene(1, index, "full"), language))
