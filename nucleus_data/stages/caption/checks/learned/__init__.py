"""Linear models that find refusals, chatter and boilerplate which no regular expression matches.

    learned("refusal", "Regrettably, no caption can be given.")
    # 'no caption'

They complement the regular expressions of `phrases`. Each sentence of an answer gets a score per
kind, the sum of the weights of its terms (`terms`). `scripts/fit_checks.py` fits the weights by
multinomial logistic regression, and writes them to `weights.txt`, a text file. A sentence belongs
to a kind if the log odds of the kind, against the other kinds and a plain caption, are above the
kind's threshold. The models know English only, and do not judge texts of a single word.

The functions `terms` and `context` define the terms. Scores are computed by `tables` and `kernels`,
which represent the same terms by numbers, in a fifth of the time.
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
# A text counts as English if at most this share of its letters is outside of a to z, and at least
# this share of its words is known.
_MOST_STRANGE, _LEAST_ENGLISH = 0.1, 0.3
# Short words that exist in other languages, too, and so are no evidence of English.
_ANYWHERE = frozenset(["i", "me", "my", "mine", "to", "model"])
_TERMS_SHOWN = 3  # number of terms in a message, those with the largest weights
_NOTHING = ("",) * len(KINDS)

Scores = tuple[float, ...]  # one score per kind


@dataclass(frozen=True)
class Model:
    """Weights of terms, all multiples of 0.01.

    Attributes:
        weights: The weights of each term, as it is written in `weights.txt`.
        bias: The score of a sentence without terms.
        least: The thresholds of the log odds.
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
    """Parses the content of a file of weights."""
    weights = dict[str, Scores]()
    for line in content.splitlines():
        if "\t" in line:  # other lines are comments
            term, *fields = line.split("\t")
            weights[term] = tuple([float(field or 0) for field in fields])
    bias, least = weights.pop(BIAS), weights.pop(LEAST)
    return Model(weights, bias, least)


@cache
def _model() -> Model:
    return read_model(WEIGHTS.read_text(encoding="utf-8"))


def learned(kind: str, text: str) -> str:
    """Returns the words because of which a text belongs to a kind; empty if it does not.

    Args:
        kind: One of `KINDS`.
        text: An answer without quotations, with straight apostrophes.
    """
    return _judged(text)[KINDS.index(kind)]


@lru_cache(maxsize=64)
def _judged(text: str) -> tuple[str, ...]:
    """Returns the words of all kinds; cached, as the three checks judge the same text in turn."""
    return judge(text, _model())


def judge(text: str, known: Model) -> tuple[str, ...]:
    """Returns the words because of which a text belongs to each kind; empty if it does not.

    Args:
        text: An answer without quotations, with straight apostrophes.
        known: The model.

    Returns:
        The words, joined by spaces, in the order of `KINDS`.
    """
    if not text.isascii() and _strange(text):
        return _NOTHING
    # Log odds are never above the score, so most texts need no further work.
    if not known.tables.scores(text)[1]:
        return _NOTHING
    read = [read_sentence(sentence, at == 0) for at, sentence in enumerate(sentences(text))]
    # Captions of a single word are more common than misbehaviour in a single word.
    if sum([len(sentence.words) - 2 for sentence in read]) < 2:
        return _NOTHING
    words, best = list(_NOTHING), list(known.least)
    for sentence, sentence_scores in zip(read, scores(text, known), strict=True):
        for kind, (least, odds) in enumerate(zip(best, log_odds(sentence_scores), strict=True)):
            if odds > least:
                words[kind], best[kind] = _words(sentence, kind, known), odds
    # The language is checked last, as hardly any caption gets here.
    return tuple(words) if any(words) and _english(read) else _NOTHING


def _strange(text: str) -> bool:
    """Returns whether too many letters of a text are not ASCII."""
    letters = [letter for letter in text if letter.isalpha()]
    return sum(not letter.isascii() for letter in letters) > _MOST_STRANGE * len(letters)


def _english(read: Sequence[Sentence]) -> bool:
    """Returns whether a text is English, by its share of known words."""
    pairs = [
        (word, symbol)
        for sentence in read
        for word, symbol in zip(sentence.words, sentence.symbols, strict=True)
        if word[0].isalpha() and word not in _ANYWHERE
    ]
    # All words with a class are English.
    known = sum(symbol != word or word in _common_words() for word, symbol in pairs)
    return known > 0 and known >= _LEAST_ENGLISH * len(pairs)


@cache
def _common_words() -> frozenset[str]:
    return frozenset(words_in("english"))


def scores(text: str, known: Model) -> list[Scores]:
    """Returns the scores of all sentences of a text, per kind.

    A score is the sum of the bias and the weights of the terms of the sentence and of its context
    (`terms`); each term counts once.
    """
    hundredths, _ = known.tables.scores(text)
    return list(map(tuple, (hundredths / 100).tolist()))


def log_odds(each: Scores) -> Scores:
    """Returns the log odds of each kind against all others and a plain caption (of score 0)."""
    raised = [math.exp(min(score, 50.0)) for score in each]
    return tuple(
        [
            score - math.log1p(sum(raised[:at]) + sum(raised[at + 1 :]))
            for at, score in enumerate(each)
        ]
    )


def _words(sentence: Sentence, kind: int, known: Model) -> str:
    """Returns the words of the terms with the largest weights for a kind, in their order."""
    weighed = {}
    for first, last, term in terms(sentence):
        if (weights := known.weights.get(term)) and weights[kind] > 0:
            weighed[term] = weights[kind], first, last
    chosen = sorted(weighed.values(), key=lambda item: -item[0])[:_TERMS_SHOWN]
    shown, before = list[str](), 0
    for at in sorted({at for _, *ends in chosen for at in ends}):
        word = sentence.words[at]
        if word[0] not in "^$":
            shown += ["\u2026"] * (bool(shown) and at > before + 1) + [word]
            before = at
    return " ".join(shown or sentence.words[1:-1])
