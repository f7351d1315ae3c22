"""Linear models that find refusals, chatter and boilerplate in words that no expression knows.

    learned("refusal", "Regrettably, no caption can be given.")
    # 'no caption'

They stand beside the regular expressions of `phrases`. Each sentence of an answer gets a score of
each kind: the sum of the weights of its terms (see `terms`). `scripts/fit_checks.py` fits the
weights by multinomial logistic regression and writes them to `weights.txt`, for people to read. A
sentence is of a kind if the log odds of the kind, against the other kinds and a plain caption, are
above the kind's threshold. The models know English alone, and do not judge a single word.

`terms` and `context` say what the terms are. Scores come from `tables` and `kernels`, which find
the same terms as numbers, in a fifth of the time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nucleus_data.stages.caption.checks.learned.terms import (
    Sentence,
    read_sentence,
    sentences,
    terms,
)
from nucleus_data.stages.caption.checks.phrases import words_in

if TYPE_CHECKING:
    from nucleus_data.stages.caption.checks.learned.tables import Tables

KINDS = ("refusal", "chatter", "boilerplate")
WEIGHTS = Path(__file__).parent / "weights.txt"
BIAS, LEAST = "~bias", "~least"
# A text is read as English if at most this share of its letters is none of the 26, and at least
# this share of its words is known.
_MOST_STRANGE, _LEAST_ENGLISH = 0.1, 0.3
# Short words that other languages have, too: they don't tell that a text is English.
_ANYWHERE = frozenset(["i", "me", "my", "mine", "to", "model"])
_TERMS_SHOWN = 3  # in a message: those that weigh most
_NOTHING = ("",) * len(KINDS)

Scores = tuple[float, ...]  # one of each kind


@dataclass(frozen=True)
class Model:
    """Weights of terms, in whole hundredths.

    Attributes:
        weights: Of each term, as `weights.txt` writes it.
        bias: The score of a sentence without terms.
        least: The thresholds of log odds.
    """

    weights: dict[str, Scores]
    bias: Scores
    least: Scores

    @cached_property
    def tables(self) -> "Tables":
        """The weights as arrays."""
        from nucleus_data.stages.caption.checks.learned.tables import Tables  # numba: when needed

        return Tables(self.weights, self.bias, self.least)


def read_model(content: str) -> Model:
    """Reads the content of a file of weights."""
    weights = dict[str, Scores]()
    for line in content.splitlines():
        if "\t" in line:  # others are comments
            term, *each = line.split("\t")
            weights[term] = tuple([float(one or 0) for one in each])
    bias, least = weights.pop(BIAS), weights.pop(LEAST)
    return Model(weights, bias, least)


@cache
def _model() -> Model:
    return read_model(WEIGHTS.read_text(encoding="utf-8"))


def learned(kind: str, text: str) -> str:
    """The words for which a text is of a kind; empty if it is not.

    Args:
        kind: One of KINDS.
        text: An answer without its quotations, with straight apostrophes.
    """
    return _judged(text)[KINDS.index(kind)]


@lru_cache(maxsize=64)
def _judged(text: str) -> tuple[str, ...]:
    """All kinds at once, cached: the three checks ask for one text one after the other."""
    return judge(text, _model())


def judge(text: str, known: Model) -> tuple[str, ...]:
    """The words for which a text is of each kind, in the order of KINDS; empty where it is not."""
    if not text.isascii() and _strange(text):
        return _NOTHING
    # Log odds are never above the score, so most texts are done here.
    if not known.tables.scores(text)[1]:
        return _NOTHING
    read = [read_sentence(sentence, at == 0) for at, sentence in enumerate(sentences(text))]
    # Captions of one word are more common than misbehaviour in one.
    if sum([len(sentence.words) - 2 for sentence in read]) < 2:
        return _NOTHING
    found, best = list(_NOTHING), list(known.least)
    for sentence, each in zip(read, scores(text, known), strict=True):
        for kind, (least, own) in enumerate(zip(best, log_odds(each), strict=True)):
            if own > least:
                found[kind], best[kind] = _words(sentence, kind, known), own
    # The language is asked for last, as hardly any caption comes so far.
    return tuple(found) if any(found) and _english(read) else _NOTHING


def _strange(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    return sum(not letter.isascii() for letter in letters) > _MOST_STRANGE * len(letters)


def _english(read: Sequence[Sentence]) -> bool:
    pairs = [
        (word, symbol)
        for sentence in read
        for word, symbol in zip(sentence.words, sentence.symbols, strict=True)
        if word[0].isalpha() and word not in _ANYWHERE
    ]
    # All words that have a class are English.
    known = sum(symbol != word or word in _common_words() for word, symbol in pairs)
    return known > 0 and known >= _LEAST_ENGLISH * len(pairs)


@cache
def _common_words() -> frozenset[str]:
    return frozenset(words_in("english"))


def scores(text: str, known: Model) -> list[Scores]:
    """The scores of each kind of all sentences of a text.

    A score is the bias and the weights of all terms of the sentence and of its context (`terms`),
    each of which counts once.
    """
    hundredths, _ = known.tables.scores(text)
    return list(map(tuple, (hundredths / 100).tolist()))


def log_odds(each: Scores) -> Scores:
    """Log odds of each kind against all others and a plain caption, which scores 0."""
    raised = [math.exp(min(score, 50.0)) for score in each]
    return tuple(
        [
            score - math.log1p(sum(raised[:at]) + sum(raised[at + 1 :]))
            for at, score in enumerate(each)
        ]
    )


def _words(sentence: Sentence, kind: int, known: Model) -> str:
    """The words of the terms that weigh most for a kind, in the sentence's order."""
    weighed = {}
    for first, last, term in terms(sentence):
        if (each := known.weights.get(term)) and each[kind] > 0:
            weighed[term] = each[kind], first, last
    chosen = sorted(weighed.values(), key=lambda each: -each[0])[:_TERMS_SHOWN]
    told, before = list[str](), 0
    for at in sorted({at for _, *ends in chosen for at in ends}):
        word = sentence.words[at]
        if word[0] not in "^$":
            told += ["\u2026"] * (bool(told) and at > before + 1) + [word]
            before = at
    return " ".join(told or sentence.words[1:-1])
