"""Scores of all sentences of a text, compiled by numba: the terms of `terms`, as numbers.

`tables` numbers words and symbols, and makes the arrays. Dimensions are suffixes: W words of a
text with the marks of sentences' ends, S sentences, T rows of weights, N n-grams, K kinds. Weights
are whole hundredths, so that a sum is exact in any order.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Codes = NDArray[np.int16]
Keys = NDArray[np.int64]
Floats = NDArray[np.float64]

# Rows of weights. Row 0 is of words and terms without weights. Those of context, of words and of
# n-grams follow.
UNKNOWN, BIAS, LEAST = 0, 1, 2
PLAIN, COUNT, BESIDE, ALONE, BEHIND = 3, 8, 15, 16, 17  # of `~plain 0` to 4, `~words 0` to 6, ...
COLON = 18
CLASSED, CLASSLESS, END = 0, 1, 2  # flags of words; marks and numbers are as those with a class
BIGRAM, SKIP, TRIGRAM = 0, 1, 2
_BITS = 15  # of a word's number


def key(kind: int, first: int, second: int, third: int) -> int:
    """An n-gram as one number: BIGRAM, SKIP or TRIGRAM, and the numbers of its symbols."""
    return ((kind << _BITS | first) << _BITS | second) << _BITS | third


_key = njit(key)  # the function itself makes the table


@njit
def _row(ngram: int, keys_N: Keys, rows: int) -> int:
    """The row of an n-gram, by binary search. The n-grams' rows are the last of so many."""
    low, high = 0, len(keys_N)
    while low < high:
        middle = (low + high) >> 1
        if keys_N[middle] < ngram:
            low = middle + 1
        else:
            high = middle
    known = low < len(keys_N) and keys_N[low] == ngram
    return rows - len(keys_N) + low if known else UNKNOWN


@njit
def _contexts(codes_W3: Codes, ends_S: Keys, rows_S5: Keys) -> None:
    """Writes where sentences end, and the rows of each one's context (see `terms.context`)."""
    count = len(ends_S)
    describes_S = np.empty(count, np.bool_)
    at = others = 0
    for sentence in range(count):
        begin, plain, behind, colon = at, 0, 0, False
        while codes_W3[at, 2] != END:
            colon = colon or codes_W3[at, 0] == COLON
            if codes_W3[at, 2] == CLASSLESS:
                plain += 1
                behind += int(colon)
            at += 1
        at += 1
        ends_S[sentence] = at
        share = plain / max(1, at - begin - 2)
        describes_S[sentence] = plain >= 4 and share > 0.6
        others += int(describes_S[sentence])
        rows_S5[sentence, 0] = PLAIN + min(4, int(5 * share))
        rows_S5[sentence, 1] = COUNT + min(plain, 6)
        rows_S5[sentence, 2] = ALONE if count == 1 else UNKNOWN
        rows_S5[sentence, 3] = BEHIND if behind >= 3 else UNKNOWN
    for sentence in range(count):
        rows_S5[sentence, 4] = BESIDE if others > int(describes_S[sentence]) else UNKNOWN


@njit
def _add(row: int, mark: int, marks_T: Keys, weights_TK: Floats, sums_K: Floats) -> None:
    """Adds a row of weights, unless it has the sentence's mark: each term counts once."""
    if row != UNKNOWN and marks_T[row] != mark:
        marks_T[row] = mark
        for kind in range(len(sums_K)):
            sums_K[kind] += weights_TK[row, kind]


@njit(cache=True)
def score(codes_W3: Codes, keys_N: Keys, weights_TK: Floats, gap: int, scores_SK: Floats) -> bool:
    """Whether any sentence scores above a threshold.

    Args:
        codes_W3: A word's number, its symbol's number, and a flag. Each sentence has an END.
        keys_N: The n-grams, as `key` numbers them, sorted.
        weights_TK: Hundredths. The last rows are the n-grams'.
        gap: The widest distance of a skip-bigram's two words.
        scores_SK: Zeros, to which the scores are added, in hundredths.
    """
    count, rows = len(scores_SK), len(weights_TK)
    ends_S, rows_S5 = np.empty(count, np.int64), np.empty((count, 5), np.int64)
    _contexts(codes_W3, ends_S, rows_S5)
    marks_T = np.zeros(rows, np.int64)
    begin, above = 0, False
    for sentence in range(count):
        end, mark, sums_K = ends_S[sentence], sentence + 1, scores_SK[sentence]
        _add(BIAS, mark, marks_T, weights_TK, sums_K)
        for at in range(rows_S5.shape[1]):
            _add(rows_S5[sentence, at], mark, marks_T, weights_TK, sums_K)
        for at in range(begin, end):
            first = np.int64(codes_W3[at, 1])
            _add(np.int64(codes_W3[at, 0]), mark, marks_T, weights_TK, sums_K)
            _add(first, mark, marks_T, weights_TK, sums_K)
            for to in range(at + 1, min(at + 1 + gap, end) if first != UNKNOWN else at):
                second = np.int64(codes_W3[to, 1])
                if second == UNKNOWN:
                    continue
                kind = BIGRAM if to == at + 1 else SKIP
                row = _row(_key(kind, first, second, 0), keys_N, rows)
                _add(row, mark, marks_T, weights_TK, sums_K)
                between = np.int64(codes_W3[at + 1, 1])
                if to == at + 2 and between != UNKNOWN:
                    row = _row(_key(TRIGRAM, first, between, second), keys_N, rows)
                    _add(row, mark, marks_T, weights_TK, sums_K)
        for kind in range(len(sums_K)):
            above = above or sums_K[kind] > weights_TK[LEAST, kind]
        begin = end
    return above
