from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.world.alt_texts import alt_text, with_a_mistake
from nucleus_data.world.caption_facts import asked_facts
from nucleus_data.world.caption_scoring import CaptionScore, score_caption
from nucleus_data.world.scenes import COLORS, KINDS, LEVELS
from nucleus_data.world.words import ABOVE, LEFT_OF, LENGTHS, captions
from tests.support.quick import quick
from tests.support.scenes import ALL, SCENES, first_scene

EVERY_LENGTH = pytest.mark.parametrize("length", LENGTHS)


def pooled(texts_and_scenes, length):
    scores = (score_caption(text, facts, length) for text, facts in texts_and_scenes)
    return sum(scores, CaptionScore())


@pytest.mark.slow
@pytest.mark.parametrize("level", quick(LEVELS, 1))
@EVERY_LENGTH
def test_the_truth_is_wholly_right(level, length):
    for facts in SCENES[level]:
        score = score_caption(captions(facts)[length], facts, length)
        asked = len(asked_facts(facts, length))
        shapes = len(facts.shapes)
        assert score == CaptionScore(1, asked, asked, asked, asked, asked, shapes, 0, 0, 1)


VOCABULARY = sorted({w for s in ALL[::20] for text in captions(s).values() for w in text.split()})
NEAR_GRAMMAR = st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join)


@settings(max_examples=60)
@given(st.one_of(st.text(), NEAR_GRAMMAR))
def test_any_text_can_be_read_and_scored(text):
    for length in ("very_short", "long"):
        score = score_caption(text, SCENES["full"][0], length)
        assert 0 <= score.right <= score.told
        assert score.asked_right <= score.asked_told <= score.asked
        assert score.objects - score.invented == len(SCENES["full"][0].shapes) - score.missing


def test_a_long_text_takes_no_time():
    for text in ("red " * 5_000, "red circle, " * 2_000, '"' * 9_000, "lighter towards " * 3_000):
        score_caption(text, SCENES["full"][0], "long")


@pytest.mark.slow
@EVERY_LENGTH
def test_rewording_does_no_harm(length):
    def reworded(text):
        plain = text.lower().replace(" a ", " ").replace("large", "really large")
        return plain.replace("gray", "grey").replace("center", "centre")

    score = pooled(((reworded(captions(s)[length]), s) for s in ALL[::2]), length)
    assert (score.whole_share, score.right_share, score.told_share) == (1, 1, 1)


@pytest.mark.slow
@EVERY_LENGTH
def test_a_caption_cut_off_tells_less_and_nothing_wrong(length):
    for facts in ALL[::6]:
        words = captions(facts)[length].split()
        text = " ".join(words[: len(words) // 2])
        score = score_caption(text, facts, length)
        assert score.whole == 0
        assert score.told_share < 1
        assert (score.right, score.invented) == (score.told, 0)


@pytest.mark.slow
@pytest.mark.parametrize("length", ["tags", "short", "medium", "long"])
def test_one_mistake_is_one_wrong_fact(length):
    rng = np.random.default_rng(0)
    for facts in ALL[::2]:
        score = score_caption(captions(with_a_mistake(facts, rng))[length], facts, length)
        truth = score_caption(captions(facts)[length], facts, length)
        assert score == replace(
            truth, right=truth.right - 1, asked_right=truth.asked_right - 1, whole=0
        )


def changed(facts, number, **values):
    shapes = list(facts.shapes)
    shapes[number] = replace(shapes[number], **values)
    return replace(facts, shapes=tuple(shapes))


@pytest.mark.slow
@EVERY_LENGTH
def test_swapped_colours_are_two_wrong_facts(length):
    # Sizes differ too: else a swap of colours is a swap of kinds in a `short` caption.
    facts = first_scene(
        lambda s: (
            len(s.shapes) == 2
            and s.shapes[0].kind != s.shapes[1].kind
            and s.shapes[0].color != s.shapes[1].color
            and s.shapes[0].size != s.shapes[1].size
        )
    )
    one, other = facts.shapes
    swapped = changed(changed(facts, 0, color=other.color), 1, color=one.color)
    truth = score_caption(captions(facts)[length], facts, length)
    score = score_caption(captions(swapped)[length], facts, length)
    assert score == replace(
        truth, right=truth.right - 2, asked_right=truth.asked_right - 2, whole=0
    )


@pytest.mark.slow
@EVERY_LENGTH
def test_a_dropped_object_is_missing(length):
    for facts in SCENES["full"][:80]:
        if len(facts.shapes) < 2:
            continue
        fewer = replace(facts, shapes=facts.shapes[:-1])
        score = score_caption(captions(fewer)[length], facts, length)
        truth = score_caption(captions(facts)[length], facts, length)
        assert (score.missing, score.invented, score.whole) == (1, 0, 0)
        assert score.told_share < truth.told_share
        wrong = 1 if length in ("tags", "long") else 0  # The number of shapes.
        assert score.told - score.right == wrong


@EVERY_LENGTH
def test_an_invented_object_is_invented(length):
    for facts in SCENES["full"][:80]:
        kind = next(k for k in KINDS if k not in {s.kind for s in facts.shapes})
        color = next(c for c in COLORS if c not in {s.color for s in facts.shapes})
        text = captions(facts)[length]
        truth = score_caption(text, facts, length)
        score = score_caption(f"{text} A small {color} {kind}.", facts, length)
        assert score == replace(truth, objects=truth.objects + 1, invented=1, whole=0)


def test_an_impossible_kind_is_wrong_or_invented():
    facts = first_scene(lambda s: len(s.shapes) == 1)
    color = facts.shapes[0].color
    other = next(c for c in COLORS if c != color)
    matched = score_caption(f"A {color} hexagon.", facts, "very_short")
    assert (matched.told, matched.right, matched.invented, matched.missing) == (2, 1, 0, 0)
    invented = score_caption(f"A {other} hexagon.", facts, "very_short")
    assert (invented.told, invented.invented, invented.missing) == (0, 1, 1)
    assert invented.invented_share == 1


@pytest.mark.parametrize("name", ["count", "background", "ground", "style", "word", "relation"])
def test_one_wrong_fact_of_the_scene(name):
    facts = first_scene(lambda s: len(s.shapes) > 1, level="full")
    facts = replace(facts, style="night", background="gray", ground="woven", word="OPEN")
    text = captions(facts)["long"]
    number = {2: "two", 3: "three", 4: "four"}[len(facts.shapes)]
    turned = {LEFT_OF: "to the right of", ABOVE: "below"}
    relation = LEFT_OF if LEFT_OF in text else ABOVE
    old, new = {
        "count": (f"{number} shapes", "one shape"),
        "background": ("is gray", "is teal"),
        "ground": ("woven", "cluttered"),
        "style": ("night picture", "pencil drawing"),
        "word": ("OPEN", "OPEM"),
        "relation": (relation, turned[relation]),
    }[name]
    assert old in text
    truth = score_caption(text, facts, "long")
    score = score_caption(text.replace(old, new, 1), facts, "long")
    assert score == replace(
        truth, right=truth.right - 1, asked_right=truth.asked_right - 1, whole=0
    )


@pytest.mark.parametrize(
    "lie", ['The word "SALE" is at the top.', "It is woven.", "It is a pencil drawing.", "striped"]
)
def test_what_a_plain_scene_does_not_have_is_wrong(lie):
    facts = first_scene(lambda s: s.ground == "plain" and len(s.shapes) == 1)
    text = captions(facts)["medium"]
    truth = score_caption(text, facts, "medium")
    color = facts.shapes[0].color
    told = text.replace(color, f"striped {color}") if lie == "striped" else f"{text} {lie}"
    score = score_caption(told, facts, "medium")
    wrong = 2 if "word" in lie else 1
    assert score == replace(truth, told=truth.told + wrong, whole=0)


@pytest.mark.slow
@EVERY_LENGTH
def test_another_scenes_caption_scores_low(length):
    for level in LEVELS:
        scenes = SCENES[level]
        pairs = ((captions(b)[length], a) for a, b in pairwise(scenes))
        score = pooled(pairs, length)
        assert score.whole_share < 0.05
        assert score.asked_right_share < 0.4
        assert score.right_share < 0.65
        assert score.invented_share > 0.3


def test_an_empty_caption_earns_nothing():
    score = pooled((("", s) for s in ALL), "short")
    assert (score.right_share, score.told_share, score.whole_share, score.invented_share) == (
        (0,) * 4
    )
    assert CaptionScore().right_share == 0


def test_sums_pool_counts():
    pairs = [(captions(s)["short"], s) for s in ALL[:3]]
    both = pooled([*pairs, ("", ALL[3])], "short")
    assert both.captions == 4
    assert both.whole_share == 0.75


@pytest.mark.slow
def test_alt_texts_of_the_web_are_told_apart():
    shares = {
        kind: pooled(((alt_text(s, kind).text, s) for s in ALL[::3]), "short")
        for kind in ("good", "terse", "partly_wrong", "other_image", "missing", "generic")
    }
    assert shares["good"].whole_share == 1
    assert shares["terse"].right_share == 1
    assert shares["terse"].told_share < 0.75
    assert shares["partly_wrong"].whole_share == 0
    assert shares["partly_wrong"].right_share > 0.7
    assert shares["other_image"].right_share < 0.65
    assert shares["missing"].told == shares["generic"].told == 0
