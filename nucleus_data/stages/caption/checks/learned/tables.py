"""Converts words and weights of a model to arrays, for `kernels`. Imports numba.

    tables = Tables(known.weights, known.bias, known.least)
    tables.scores("A ring. It is red.")  # hundredths, shape (2, 3), and False

Most captions have no finding, so their words are not needed as strings: for each part of the text
between spaces, the numbers of its words are looked up in a cache.
"""

from collections.abc import Mapping

import numpy as np

from nucleus_data.stages.caption.checks.learned import kernels
from nucleus_data.stages.caption.checks.learned.terms import (
    ENDS,
    GAP,
    STARTS,
    end_mark,
    is_plain,
    read_token,
    sentences,
    tokens,
)

CONTEXT = (
    *[f"~plain {fifths}" for fifths in range(5)],
    *[f"~words {count}" for count in range(7)],
    "~beside a caption",
    "~alone",
    "~caption behind :",
)
_FIRST = ("", "~bias", "~least", *CONTEXT, ":")  # names of the rows with fixed numbers in `kernels`
_HUNDREDTHS = 100
_MOST_KEPT, _LONGEST_KEPT = 1 << 15, 32  # texts, and characters of a text; longer ones are rare

Scores = tuple[float, ...]


class Codes(dict[str, bytes]):
    """A cache of the codes of texts without spaces (`rings,`), by text.

    A code is one row of the kernel's input per word, as bytes, which are the fastest to
    concatenate to an array.
    """

    def __init__(self, numbers: Mapping[str, int]) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, text: str) -> bytes:
        codes = b"".join(
            self.code(
                word, symbol, kernels.CLASSLESS if is_plain(word, symbol) else kernels.CLASSED
            )
            for token in tokens(text)
            for word, symbol in zip(*read_token(token)[:2], strict=True)
        )
        if len(text) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[text] = codes
        return codes

    def code(self, word: str, symbol: str, flag: int = kernels.CLASSED) -> bytes:
        """Returns the code of one word: its number, its symbol's number, and a flag."""
        numbers = [self._numbers.get(name, kernels.UNKNOWN) for name in (word, symbol)]
        return np.array([*numbers, flag], np.int16).tobytes()


class Tables:
    """A model's weights as arrays.

    Args:
        weights: The weights of each term.
        bias: The score of a sentence without terms.
        least: The thresholds of the log odds.
    """

    def __init__(self, weights: Mapping[str, Scores], bias: Scores, least: Scores) -> None:
        terms = [term for term in weights if not term.startswith("~")]
        numbers = {name: row for row, name in enumerate(_FIRST)}
        for word in (word for term in terms for word in term.split(" ") if word != ".."):
            numbers.setdefault(word, len(numbers))
        ngrams = sorted((_key(term, numbers), term) for term in terms if " " in term)
        every = [*numbers, *[term for _, term in ngrams]]
        rows = [weights.get(term, (0.0,) * len(bias)) for term in every]
        rows[kernels.BIAS] = bias
        self._weights_TK = (np.array(rows) * _HUNDREDTHS).round()
        self._weights_TK[kernels.LEAST] = np.array(least) * _HUNDREDTHS  # not rounded
        self._keys_N = np.array([key for key, _ in ngrams], np.int64)
        self._codes = Codes(numbers)
        self._starts = tuple(self._codes.code(mark, mark) for mark in STARTS)
        self._ends = {mark: self._codes.code(mark, mark, kernels.END) for mark in ENDS}

    def read(self, text: str) -> tuple[kernels.Codes, int]:
        """Returns the kernel's input for a text, int16 (W, 3), and its number of sentences."""
        codes, code, start = list[bytes](), self._codes.__getitem__, self._starts[0]
        every = sentences(text.lower())
        for sentence in every:
            codes.append(start)
            codes += map(code, sentence.split())  # no token has a space
            codes.append(self._ends[end_mark(sentence)])
            start = self._starts[1]
        return np.frombuffer(b"".join(codes), np.int16).reshape(-1, 3), len(every)

    def scores(self, text: str) -> tuple[kernels.Floats, bool]:
        """Returns all sentences' scores, float64 (S, K), and whether any is above a threshold.

        Scores are in hundredths.
        """
        codes_W3, count = self.read(text)
        scores_SK = np.zeros((count, self._weights_TK.shape[1]))
        above = kernels.score(codes_W3, self._keys_N, self._weights_TK, GAP, scores_SK)
        return scores_SK, above


def _key(term: str, numbers: Mapping[str, int]) -> int:
    """Returns the key of a bigram, skip-bigram or trigram."""
    first, second, *third = term.split(" ")
    if not third:
        return kernels.key(kernels.BIGRAM, numbers[first], numbers[second], 0)
    if second == "..":
        return kernels.key(kernels.SKIP, numbers[first], numbers[third[0]], 0)
    return kernels.key(kernels.TRIGRAM, numbers[first], numbers[second], numbers[third[0]])
