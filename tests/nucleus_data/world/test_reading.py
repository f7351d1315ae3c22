from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleus_data.world.alt_texts import GENERIC, alt_text, with_a_mistake
from nucleus_data.world.caption_scoring import (
    CaptionScore,
    RefinementScore,
    asked_facts,
    match_objects,
    score_caption,
    score_refinement,
)
from nucleus_data.world.reading import ReadObject, ReadScene, read_caption
from nucleus_data.world.scenes import BACKGROUNDS, COLORS, KINDS, LEVELS, STYLES, scene
from nucleus_data.world.words import ABOVE, LEFT_OF, LENGTHS, captions
from tests.support.quick import quick

SCENES = {level: [scene(11, i, level) for i in range(300)] for level in LEVELS}
ALL = [facts for level in LEVELS for facts in SCENES[level]]
EVERY_LENGTH = pytest.mark.parametrize("length", LENGTHS)


def pooled(texts_and_scenes, length):
    scores = (score_caption(text, facts, length) for text, facts in texts_and_scenes)
    return sum(scores, CaptionScore())


def first(condition, level="core"):
    return next(facts for facts in SCENES[level] if condition(facts))


@pytest.mark.parametrize("level", quick(LEVELS, 1))
@EVERY_LENGTH
def test_the_truth_is_wholly_right(level, length):
    for facts in SCENES[level]:
        score = score_caption(captions(facts)[length], facts, length)
        asked = len(asked_facts(facts, length))
        shapes = len(facts.shapes)
        assert score == CaptionScore(1, asked, asked, asked, asked, asked, shapes, 0, 0, 1)


def test_asked_facts_by_hand():
    facts = first(lambda s: s.word and s.ground == "graded" and len(s.shapes) == 2, "full")
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


def test_a_long_caption_read_by_hand():
    text = (
        "This night picture shows three shapes. A large white square is in the top right. "
        "A large dotted green triangle is in the middle left. A small orange circle is in the "
        "center. The green triangle is to the left of the white square. The white square is above "
        "the orange circle. The background is brown and gets lighter towards the top. "
        'The word "EXIT" is at the bottom.'
    )
    assert read_caption(text) == ReadScene(
        objects=(
            ReadObject("square", "white", "large", None, "top right"),
            ReadObject("triangle", "green", "large", "dotted", "middle left"),
            ReadObject("circle", "orange", "small", None, "center"),
        ),
        count="3",
        background="brown",
        ground="graded",
        light="top",
        style="night",
        word="EXIT",
        word_place="bottom",
        relations=(
            (ReadObject("triangle", "green"), LEFT_OF, ReadObject("square", "white")),
            (ReadObject("square", "white"), ABOVE, ReadObject("circle", "orange")),
        ),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("blue hexagon", [("hexagon", "blue")]),
        ("A huge blue thing", [(None, "blue")]),
        ("a small red ring and a large bl", [("ring", "red")]),
        ("a small red ring and a large blue", [("ring", "red"), (None, "blue")]),
        ("A large dog in the park", []),
        ("circle_red_57.jpg", [("circle", "red")]),
        ("two green crosses", [("cross", "green")] * 2),
        ("a red circle and a red circle", [("circle", "red")] * 2),
        ("A red circle. The red circle is in the top left.", [("circle", "red")]),
        (
            "red ring. red ring left of blue star. blue star",
            [("ring", "red")] + [("star", "blue")] * 2,
        ),
        ("RED RING on a GREY background", [("ring", "red")]),
        ("a crimson ring", [("ring", None)]),
        ("a red or blue ring", [(None, "red"), ("ring", "blue")]),
    ],
)
def test_objects_of_odd_captions(text, told):
    assert [(one.kind, one.color) for one in read_caption(text).objects] == told


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("a GREY background", "background", "gray"),
        ("on a background of teal", "background", "teal"),
        ("background: light pink", "background", "pink"),
        ("The background is gray. The background is teal.", "background", "gray or teal"),
        ("The background is blue.", "background", "blue"),
        ("it gets lighter to the left", "light", "left"),
        ("it gets lighter", "ground", "graded"),
        ("Two shapes. 3 shapes", "count", "2 or 3"),
        ('the word "open" is at the top', "word", "OPEN"),
        ('the word "open" is at the top', "word_place", "top"),
        ('the word "OPE', "word", None),
        ("It is a pencil drawing", "style", "pencil"),
        ("This picture shows", "style", "flat"),
    ],
)
def test_facts_of_odd_captions(text, name, value):
    assert getattr(read_caption(text), name) == value


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("In the upper left is a red ring", ["top left"]),
        ("top left red ring, bottom-right blue star", ["top left", "bottom right"]),
        ("a red ring in the centre and a blue star", ["center", None]),
        ("a red ring in the bottom center", ["bottom center"]),
    ],
)
def test_places_before_and_after(text, places):
    assert [one.place for one in read_caption(text).objects] == places


def test_relations_may_be_turned_round():
    text = "A red ring. A blue star. The blue star is to the right of the red ring and below it."
    ring, star = ReadObject("ring", "red"), ReadObject("star", "blue")
    read = read_caption(text)
    assert read.relations == ((ring, LEFT_OF, star),)
    assert read.objects == (ring, star)


@pytest.mark.parametrize("text", ["", *GENERIC, "...", '""', "@@ | @top", "IMG_0001.jpg"])
def test_text_that_tells_nothing(text):
    assert read_caption(text) == ReadScene()


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
    facts = first(
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
    facts = first(lambda s: len(s.shapes) == 1)
    color = facts.shapes[0].color
    other = next(c for c in COLORS if c != color)
    matched = score_caption(f"A {color} hexagon.", facts, "very_short")
    assert (matched.told, matched.right, matched.invented, matched.missing) == (2, 1, 0, 0)
    invented = score_caption(f"A {other} hexagon.", facts, "very_short")
    assert (invented.told, invented.invented, invented.missing) == (0, 1, 1)
    assert invented.invented_share == 1


@pytest.mark.parametrize("name", ["count", "background", "ground", "style", "word", "relation"])
def test_one_wrong_fact_of_the_scene(name):
    facts = first(lambda s: len(s.shapes) > 1, level="full")
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
    facts = first(lambda s: s.ground == "plain" and len(s.shapes) == 1)
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


def test_matching_finds_the_best_assignment_and_keeps_to_the_order():
    two = first(lambda s: len(s.shapes) == 2)
    shapes = (
        replace(two.shapes[0], kind="ring", color="red", size="small", texture="plain"),
        replace(two.shapes[1], kind="ring", color="blue", size="small", texture="plain"),
    )
    # Two equal attributes either way: with a pair more, nothing is invented.
    told = (ReadObject("circle", "red"), ReadObject("ring", "red"))
    assert match_objects(told, shapes) == {0: 0, 1: 1}
    assert match_objects((ReadObject("ring", None),) * 9, shapes) == {0: 0, 1: 1}
    assert match_objects((ReadObject("star", "green"),), shapes) == {}


def test_a_refinement_that_says_the_truth_corrects_all_and_keeps_all():
    rng = np.random.default_rng(1)
    score = RefinementScore()
    for facts in ALL[::3]:
        poor = captions(with_a_mistake(facts, rng))["short"]
        score += score_refinement(poor, captions(facts)["long"], facts)
    assert score.wrong == len(ALL[::3])
    assert (score.corrected_share, score.kept_share) == (1, 1)


def test_a_refinement_that_changes_nothing_corrects_nothing():
    rng = np.random.default_rng(2)
    for facts in ALL[:50]:
        poor = captions(with_a_mistake(facts, rng))["short"]
        score = score_refinement(poor, poor, facts)
        assert (score.wrong, score.corrected, score.kept) == (1, 0, score.right)


def test_a_refinement_that_breaks_a_fact_does_not_keep_it():
    for facts in ALL[:50]:
        other = next(b for b in BACKGROUNDS if b != facts.background)
        text = captions(facts)["short"]
        broken = text.replace(facts.background, other)
        score = score_refinement(text, broken, facts)
        assert (score.wrong, score.kept) == (0, score.right - 1)
        assert score_refinement(text, "", facts).kept == 0


def test_inventions_and_needless_words_are_corrected_by_silence():
    facts = first(lambda s: s.ground == "plain" and len(s.shapes) == 1)
    shape = facts.shapes[0]
    kind = next(k for k in KINDS if k != shape.kind)
    color = next(c for c in COLORS if c != shape.color)
    truth = captions(facts)["medium"]
    for lie in (
        f"A {color} {kind}.",
        "It is woven.",
        f"It is a {STYLES[2]} drawing.",
        f"The {shape.color} {shape.kind} is above the {color} {kind}.",
    ):
        poor = f"{truth} {lie}"
        assert score_refinement(poor, poor, facts).corrected == 0
        score = score_refinement(poor, truth, facts)
        assert (score.wrong, score.corrected, score.kept) == (1, 1, score.right)
    # Silence corrects nothing that the truth needs words for.
    wrong = truth.replace(facts.background, "blue")
    assert score_refinement(wrong, captions(facts)["very_short"], facts).corrected == 0


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
