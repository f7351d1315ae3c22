"""Scores from tables against the sums that `terms`, `context` and the file of weights tell."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nucleus_data.stages.caption.checks.learned import WEIGHTS, kernels, read_model, tables
from nucleus_data.stages.caption.checks.learned.terms import (
    classes,
    context,
    read_sentence,
    sentences,
    terms,
)

KNOWN = read_model(WEIGHTS.read_text(encoding="utf-8"))
# What weights know, and what they don't; contractions, marks, and letters that lower() changes to
# others or to two: the Kelvin sign to k, a dotted I to i and a dot.
KNOWN_WORDS = sorted({word for term in KNOWN.weights for word in term.split(" ")} | {*classes()[0]})
ODD = [
    *("can't", "I'm", "we've", "o'clock", "n't", "describing", "qwxyz", "Cobbles", "12", "3.5"),
    *('""', '"', "'", "--", "---", "\u2014", ":", "?", "(", ")", "#", "*", ";", ",", "\u2026"),
    *("\u212a", "\u0130", "\u03a3", "\u0664", "\u00b2", "\ud7a3", "\u00e9t\u00e9", "x" * 40),
]
BETWEEN = [
    *[" "] * 9,
    "",
    "\n",
    "\t",
    "\x1c",
    "\u00a0",
    "\u2028",
    ". ",
    ".",
    "! ",
    '." ',
    "?)",
    ": ",
]
ODD_TEXTS = st.lists(
    st.tuples(st.sampled_from(KNOWN_WORDS) | st.sampled_from(ODD), st.sampled_from(BETWEEN)),
    max_size=40,
).map(lambda pairs: "".join(part for pair in pairs for part in pair))


def slow(text, known):
    """Hundredths of each sentence and kind."""
    read = [read_sentence(sentence, at == 0) for at, sentence in enumerate(sentences(text))]
    found = []
    for sentence, around in zip(read, context(read), strict=True):
        each = {term for _, _, term in terms(sentence)}.union(around) & known.weights.keys()
        rows = [known.bias, *[known.weights[term] for term in each]]
        found.append(
            [sum(round(100 * weight) for weight in kind) for kind in zip(*rows, strict=True)]
        )
    return found


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(ODD_TEXTS | st.text(max_size=60))
@example("")
@example("I'm sorry, I can not describe it. I can not describe it. A ring lies on red cobbles.")
@example("Here: cobbles below towers")
@example("Here: cobbles towers")
@example("Here is the caption: a ring lies on cobbles. Sure!\n\n---\nLet me know")
def test_scores_are_the_sums_of_the_weights_of_terms(text):
    found, above = KNOWN.tables.scores(text)
    assert found.tolist() == slow(text, KNOWN)
    assert above == bool((found > 100 * np.array(KNOWN.least)).any())


def test_more_sentences_than_a_small_number_holds():
    text = "I can not describe it. A ring lies on red cobbles. " * 300
    assert KNOWN.tables.scores(text)[0].tolist() == slow(text, KNOWN)


def test_rows_of_context_are_as_the_kernel_numbers_them():
    names = ("", "~bias", "~least", *tables.CONTEXT, ":")
    assert names.index("~plain 0") == kernels.PLAIN
    assert names.index("~words 0") == kernels.COUNT
    assert names.index("~beside a caption") == kernels.BESIDE
    assert names.index("~alone") == kernels.ALONE
    assert names.index("~caption behind :") == kernels.BEHIND
    assert names.index(":") == kernels.COLON
    assert {term for term in KNOWN.weights if term.startswith("~")} <= set(tables.CONTEXT)


def test_a_model_without_ngrams():
    known = tables.Tables({"owl": (1.0, -0.5, 0.0)}, bias=(0.0, 0.25, 0.0), least=(0.995, 9, 9))
    found, above = known.scores("An owl. A ring.")
    assert (found.tolist(), above) == ([[100, -25, 0], [0, 25, 0]], True)


def test_codes_are_kept_but_not_without_end(monkeypatch):
    monkeypatch.setattr(tables, "_MOST_KEPT", 3)
    codes = tables.Codes({"owl": 7})
    for text in ("owl,", "(owl", "owl", "owl!", "owl" * 20, "-"):
        codes[text]
        assert len(codes) <= 3
    assert list(codes) == ["owl!", "-"]
    assert codes["owl!"] == codes.code("owl", "owl", kernels.CLASSLESS) + codes.code("!", "!")
    assert codes["-"] == b""


def test_numbers_that_the_kernel_can_not_hold_are_refused():
    codes = tables.Codes({"owl": 1 << 15})
    with pytest.raises(OverflowError):
        codes["owl"]
