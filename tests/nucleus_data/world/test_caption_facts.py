from dataclasses import replace

import pytest

from nucleus_data.world.caption_facts import asked_facts
from nucleus_data.world.words import LENGTHS
from tests.support.scenes import first_scene


def test_asked_facts_by_hand():
    facts = first_scene(lambda s: s.word and s.ground == "graded" and len(s.shapes) == 2, "full")
    a, b = (replace(s, texture=t) for s, t in zip(facts.shapes, ("striped", "plain"), strict=True))
    facts = replace(facts, shapes=(replace(a, row=0, column=1), replace(b, row=2, column=1)))
    facts = replace(facts, style="flat")
    named = {
        length: {f"{''.join(map(str, f.about))}{f.attribute}" for f in asked_facts(facts, length)}
        for length in LENGTHS
    }
    very_short = {"0kind", "0color", "1kind", "1color"}
    short = very_short | {"0size", "1size", "0texture", "background"}
    around = {"ground", "light", "word"}
    medium = short | around | {"0place", "1place", "word_place"}
    assert named == {
        "tags": short | around | {"count", "style"},
        "very_short": very_short,
        "short": short,
        "medium": medium,
        "long": medium | {"count", "style", "01down"},
    }
    with pytest.raises(ValueError, match="very_short"):
        asked_facts(facts, "huge")
