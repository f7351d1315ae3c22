import math

import pytest

from nucleus_data.stages.caption.checks.boilerplate import Boilerplate
from nucleus_data.stages.caption.checks.chatter import Chatter
from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.learned import (
    BIAS,
    KINDS,
    LEAST,
    WEIGHTS,
    judge,
    learned,
    log_odds,
    read_model,
    scores,
)
from nucleus_data.stages.caption.checks.learned.terms import context, read_sentence, terms
from nucleus_data.stages.caption.checks.refusal import Refusal

CHECKS = {"refusal": Refusal, "chatter": Chatter, "boilerplate": Boilerplate}
# Of no author's answers, and found by no expression.
BAD = [
    ("refusal", "Describing this upload has been ruled out for safety reasons."),
    ("refusal", "No caption can be produced, because the picture never arrived."),
    ("refusal", "Unable to comply with the caption request."),
    ("refusal", "Being shown no picture leaves nothing to caption."),
    ("chatter", "Two otters hold paws in a river. Shorter versions are possible on request."),
    ("chatter", "Okey-dokey, one caption coming up! Two otters hold paws in a river."),
    ("chatter", "Two otters hold paws in a river. Written in one sentence, as you asked."),
    ("boilerplate", "Two otters hold paws in a river, a tender scene that evokes companionship."),
    ("boilerplate", "Two otters hold paws. The soft tones lend the scene a dreamlike mood."),
    ("boilerplate", "The eye is drawn at once to two otters that hold paws in a river."),
]
GOOD = [
    "A placard outside a bakery says we regret that we cannot accept cards.",
    "A referee refuses to shake hands with a coach.",
    "A clerk is unable to open a safe, and his boss looks at his watch.",
    "Two girls apologise to a neighbour for a broken window.",
    "An old photograph of a schooner hangs above a bar.",
    "A quiet harbour at dawn, with a calm sea and three trawlers.",
    "A slide with a list of options for a new logo; the second one is circled.",
    "There are no boats in the dry harbour.",
    "draw a badger in a raincoat, ink and wash",
    "Film poster of a submarine, with a title in yellow letters",
    "Portrait of a viewer in a cinema, lit by the screen",
    "Sorry",
    "Photo",
]


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_answers_that_no_expression_knows(kind, text):
    assert CHECKS[kind](learned=False).find(Said(text)) is None
    assert CHECKS[kind]().find(Said(text))


@pytest.mark.parametrize("text", GOOD)
def test_captions_of_such_things(text):
    assert [name for name, check in CHECKS.items() if check().find(Said(text))] == []


def test_what_is_quoted_is_no_part_of_it():
    bad = "No caption can be produced, because the picture never arrived."
    assert Refusal().find(Said(bad))
    assert Refusal().find(Said(f'A torn note on a door: "{bad}"')) is None


def test_other_languages_are_left_to_the_expressions():
    assert learned("refusal", "Keine Beschreibung möglich, da kein Bild ankam.") == ""
    assert learned("refusal", "Нет изображения.") == ""


def test_the_message_has_the_words_that_weighed_most():
    found = Refusal().find(Said("No caption can be produced, because the picture never arrived."))
    assert found.startswith("it reads as a refusal: '")
    assert "caption" in found


WRITTEN = f"""# a comment
{BIAS}\t-1\t-2\t-3
{LEAST}\t0\t0.5\t0
owl\t2\t\t
SORRY\t\t3\t
SORRY owl\t1\t\t
SORRY .. ring\t\t\t4
SORRY owl ring\t0.5\t\t
~alone\t\t\t0.25
"""


def test_a_score_is_the_sum_of_the_weights_of_terms():
    known, text = read_model(WRITTEN), "Sorry owl ring ring"
    (found,) = scores(text, known)
    assert found == (-1 + 2 + 1 + 0.5, -2 + 3, -3 + 4 + 0.25)
    seen = read_sentence(text, first=True)
    each = {term for _, _, term in terms(seen)}.union(context([seen])[0])
    slow = [sum(known.weights[term][at] for term in each & known.weights.keys()) for at in range(3)]
    assert found == tuple(a + b for a, b in zip(known.bias, slow, strict=True))


def test_log_odds_are_against_all_others_and_none():
    odds = log_odds((math.log(2), math.log(3), 0.0))
    assert odds == pytest.approx((math.log(2 / 5), math.log(3 / 4), math.log(1 / 6)))


def test_a_kind_is_found_from_its_least_on():
    assert judge("Owl and ring", read_model(WRITTEN)) == ("owl", "", "")
    stricter = read_model(WRITTEN.replace(f"{LEAST}\t0", f"{LEAST}\t9"))
    assert judge("Owl and ring", stricter) == ("", "", "")


def test_a_single_word_is_not_judged():
    known = read_model(WRITTEN)
    assert scores("Owl", known)[0][0] > known.least[0]
    assert judge("Owl", known) == judge("", known) == ("", "", "")


def test_weights_are_whole_hundredths():
    known = read_model(WEIGHTS.read_text(encoding="utf-8"))
    each = [weight for row in (known.bias, *known.weights.values()) for weight in row]
    assert each == [round(100 * weight) / 100 for weight in each]


def test_weights_are_some_thousand_lines_in_order():
    lines = [line.split("\t") for line in WEIGHTS.read_text(encoding="utf-8").splitlines()]
    names = [line[0] for line in lines if len(line) > 1]
    assert names[:2] == [BIAS, LEAST]
    assert names[2:] == sorted(set(names[2:]))
    assert 1000 < len(names) < 6000
    assert {len(line) for line in lines if len(line) > 1} == {1 + len(KINDS)}
