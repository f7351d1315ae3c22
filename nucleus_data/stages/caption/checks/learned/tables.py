"""A model's words and weights as numbers, for `kernels`. Importing it imports numba.

    tables = Tables(known.weights, known.bias, known.least)
    tables.scores("A ring. It is red.")  # hundredths, shape (2, 3), and False

Nothing is found in most captions, so that their words are never needed as strings. Numbers are
looked up for all that stands between two spaces, from a cache.
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
_FIRST = ("", "~bias", "~least", *CONTEXT, ":")  # names of the rows that `kernels` numbers
_HUNDREDTHS = 100
_MOST_KEPT, _LONGEST_KEPT = 1 << 15, 32  # longer ones are hardly words

Scores = tuple[float, ...]


class Codes(dict[str, bytes]):
    """Codes of the words in texts without spaces (`rings,`), by the text.

    A code is a row of what the kernel reads: bytes, which are the fastest to join to an array.
    """

    def __init__(self, numbers: Mapping[str, int]) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, text: str) -> bytes:
        found = b"".join(
            self.code(
                word, symbol, kernels.CLASSLESS if is_plain(word, symbol) else kernels.CLASSED
            )
            for token in tokens(text)
            for word, symbol in zip(*read_token(token)[:2], strict=True)
        )
        if len(text) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[text] = found
        return found

    def code(self, word: str, symbol: str, flag: int = kernels.CLASSED) -> bytes:
        """The numbers of a word and of its symbol, and a flag."""
        numbers = [self._numbers.get(each, kernels.UNKNOWN) for each in (word, symbol)]
        return np.array([*numbers, flag], np.int16).tobytes()


class Tables:
    """Arrays of a model.

    Args:
        weights: Of each term.
        bias: The score of a sentence without terms.
        least: The thresholds.
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
        self._weights_TK[kernels.LEAST] = np.array(least) * _HUNDREDTHS  # may lie between two
        self._keys_N = np.array([key for key, _ in ngrams], np.int64)
        self._codes = Codes(numbers)
        self._starts = tuple(self._codes.code(mark, mark) for mark in STARTS)
        self._ends = {mark: self._codes.code(mark, mark, kernels.END) for mark in ENDS}

    def read(self, text: str) -> tuple[kernels.Codes, int]:
        """The codes of a text for the kernel, shape (W, 3), and the count of its sentences."""
        found, code, start = list[bytes](), self._codes.__getitem__, self._starts[0]
        every = sentences(text.lower())
        for sentence in every:
            found.append(start)
            found += map(code, sentence.split())  # no token has a space
            found.append(self._ends[end_mark(sentence)])
            start = self._starts[1]
        return np.frombuffer(b"".join(found), np.int16).reshape(-1, 3), len(every)

    def scores(self, text: str) -> tuple[kernels.Floats, bool]:
        """All sentences' scores in hundredths, (S, K), and whether any is above a threshold."""
        codes_W3, count = self.read(text)
        scores_SK = np.zeros((count, self._weights_TK.shape[1]))
        above = kernels.score(codes_W3, self._keys_N, self._weights_TK, GAP, scores_SK)
        return scores_SK, above


def _key(term: str, numbers: Mapping[str, int]) -> int:
    """The key of a bigram, skip-bigram or trigram."""
    first, second, *third = term.split(" ")
    if not third:
        return kernels.key(kernels.BIGRAM, numbers[first], numbers[second], 0)
    if second == "..":
        return kernels.key(kernels.SKIP, numbers[first], numbers[third[0]], 0)
    return kernels.key(kernels.TRIGRAM, numbers[first], numbers[second], numbers[third[0]])
