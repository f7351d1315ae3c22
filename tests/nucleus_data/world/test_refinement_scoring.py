import numpy as np
import pytest

from nucleus_data.world.alt_texts import with_a_mistake
from nucleus_data.world.refinement_scoring import RefinementScore, score_refinement
from nucleus_data.world.scenes import BACKGROUNDS, COLORS, KINDS, STYLES
from nucleus_data.world.words import captions
from tests.support.scenes import ALL, first_scene


@pytest.mark.slow
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
    facts = first_scene(lambda s: s.ground == "plain" and len(s.shapes) == 1)
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
