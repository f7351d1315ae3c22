"""Linear models that find what the expressions of `phrases` do not: answers in words never seen.

    learned("refusal", "Regrettably, no caption can be given.")
    # 'no caption'

Each sentence of an answer gets a score of each kind: the sum of the weights of its terms (see
`terms`), which `scripts/fit_checks.py` fits on answers that were written for it and writes to
`weights.txt`, for people to read. A kind is found where its log odds against all other kinds and a
plain caption are above the kind's least. English alone is known, and a single word says too little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from nucleus_data.stages.caption.checks.learned.terms import (
    GAP,
    Symbols,
    around,
    sentences,
    symbols,
    terms,
)
from nucleus_data.stages.caption.checks.phrases import words_in

KINDS = ("refusal", "chatter", "boilerplate")
WEIGHTS = Path(__file__).parent / "weights.txt"
BIAS, LEAST = "~bias", "~least"
# The most of a text's letters that may be no English ones, the least of its words that must be
# known ones, and short words that other languages have, too.
_STRANGE, _ENGLISH = 0.1, 0.3
_ANYWHERE = frozenset(["i", "me", "my", "mine", "to", "model"])
# Terms of which a message shows the words.
_NAMED = 3
_NOTHING = ("",) * len(KINDS)

Scores = tuple[float, ...]


# What begins with a symbol: its own weights, those of the symbol right behind it, of one behind
# others, and of the two behind it.
Beginning = tuple[Scores, dict[str, Scores], dict[str, Scores], dict[tuple[str, ...], Scores]]


@dataclass(frozen=True)
class Model:
    """Weights of terms, laid out for quick reading.

    Attributes:
        weights: Of each term, one a kind.
        beginnings: Of each symbol that is a term or begins one.
        bias: One a kind.
        least: The log odds from which on each kind is found.
    """

    weights: dict[str, Scores]
    beginnings: dict[str, Beginning]
    bias: Scores
    least: Scores


def read_model(content: str) -> Model:
    """A model of what a file of weights says."""
    weights = dict[str, Scores]()
    for line in content.splitlines():
        if "\t" in line:  # others are comments
            term, *each = line.split("\t")
            weights[term] = tuple([float(one or 0) for one in each])
    bias, least = weights.pop(BIAS), weights.pop(LEAST)
    beginnings = dict[str, Beginning]()
    for term, scored in weights.items():
        if term.startswith("~"):
            continue
        first, *rest = term.split(" ")
        _, near, far, two = beginnings.setdefault(first, (weights.get(first, ()), {}, {}, {}))
        if len(rest) == 1:
            near[rest[0]] = scored
        elif rest and rest[0] == "..":
            far[rest[1]] = scored
        elif rest:
            two[tuple(rest)] = scored
    return Model(weights, beginnings, bias, least)


@cache
def _model() -> Model:
    return read_model(WEIGHTS.read_text(encoding="utf-8"))


def learned(kind: str, text: str) -> str:
    """The words by which a text reads as a kind; empty if it does not.

    Args:
        kind: One of KINDS.
        text: An answer without what it quotes, with straight apostrophes.
    """
    return _judged(text)[KINDS.index(kind)]


@lru_cache(maxsize=64)
def _judged(text: str) -> tuple[str, ...]:
    """The same of all kinds, kept, as the three checks ask one after another."""
    return judge(text, _model())


def judge(text: str, known: Model) -> tuple[str, ...]:
    """The words by which a text reads as each kind, in the order of KINDS."""
    if not text.isascii() and _strange(text):
        return _NOTHING
    read = [symbols(sentence, at == 0) for at, sentence in enumerate(sentences(text))]
    every = [each for seen in read for each in seen]
    # A caption of one word is more common than an answer of one; two of each are marks of the ends.
    if len(every) - 2 * len(read) < 2 or not _english(every):
        return _NOTHING
    found, best = list(_NOTHING), list(known.least)
    for seen, more in zip(read, around(read), strict=True):
        scored = scores(seen, more, known)
        # Log odds are never above the score: most sentences end here.
        if all(score <= least for score, least in zip(scored, best, strict=True)):
            continue
        for kind, (least, own) in enumerate(zip(best, log_odds(scored), strict=True)):
            if own > least:
                found[kind], best[kind] = _words(seen, kind, known), own
    return tuple(found)


def _strange(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    return sum(not letter.isascii() for letter in letters) > _STRANGE * len(letters)


def _english(seen: Symbols) -> bool:
    """Whether enough words are ones that English sentences have."""
    small = _small()
    words = [each for each in seen if each[0].isalpha() and each[0] not in _ANYWHERE]
    known = sum([symbol is not word or word in small for word, symbol in words])
    return known > 0 and known >= _ENGLISH * len(words)


@cache
def _small() -> frozenset[str]:
    return frozenset(words_in("english"))


def scores(seen: Symbols, more: Sequence[str], known: Model) -> Scores:
    """The score of each kind of a sentence: each of its terms counts once.

    Args:
        seen: Its symbols.
        more: Terms that no word of it says.
        known: The model.
    """
    weights, beginnings = known.weights, known.beginnings
    # By what no two terms share: single symbols are texts, others are tuples.
    found: dict[object, Scores] = {}
    whole = [symbol for _, symbol in seen]
    for at, (word, symbol) in enumerate(seen):
        if word is not symbol and (each := weights.get(word)):
            found[word] = each
        if not (begun := beginnings.get(symbol)):
            continue
        own, near, far, two = begun
        if own:
            found[symbol] = own
        behind = whole[at + 1 : at + 1 + GAP]
        if near and behind and (each := near.get(behind[0])):
            found[symbol, behind[0]] = each
        if far:
            for second in behind[1:]:
                if each := far.get(second):
                    found[symbol, "..", second] = each
        if two and (each := two.get(rest := tuple(behind[:2]))):
            found[symbol, rest] = each
    for term in more:
        if each := weights.get(term):
            found[term] = each
    return tuple(map(sum, zip(known.bias, *found.values(), strict=True)))


def log_odds(each: Scores) -> Scores:
    """Log odds of each kind against all others and a plain caption, which scores 0."""
    raised = [math.exp(min(score, 50.0)) for score in each]
    return tuple(
        [
            score - math.log1p(sum(raised[:at]) + sum(raised[at + 1 :]))
            for at, score in enumerate(each)
        ]
    )


def _words(seen: Symbols, kind: int, known: Model) -> str:
    """The words of the terms that weigh most for a kind, in the sentence's order."""
    weighed = {}
    for first, last, term in terms(seen):
        if (each := known.weights.get(term)) and each[kind] > 0:
            weighed[term] = each[kind], first, last
    chosen = sorted(weighed.values(), key=lambda each: -each[0])[:_NAMED]
    told, before = list[str](), 0
    for at in sorted({at for _, *ends in chosen for at in ends}):
        word = seen[at][0]
        if word[0] not in "^$":
            told += ["\u2026"] * (bool(told) and at > before + 1) + [word]
            before = at
    return " ".join(told or [word for word, _ in seen[1:-1]])
