"""Fits linear models on the terms of sentences, of which it is known only whose text they are in.

A text of a kind has at least one sentence that gives it away: the fit alternates between taking
the sentence of each text that looks most like the kind, and logistic regression on those against
every sentence of all other texts (multiple-instance learning, mi-SVM of Andrews et al. 2002).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.learned.terms import (
    context,
    read_sentence,
    sentences,
    terms,
)

ROUNDS = 4
STEPS = 120
NONE = 2.0  # what good texts weigh, a kind weighs 1


@dataclass(frozen=True)
class Penalty:
    """How strongly weights are held at 0 (`lasso`) and small (`ridge`), of the mean loss."""

    lasso: float = 1.2e-4
    ridge: float = 2e-4
    fewest: int = 3  # sentences that a term must be in


@dataclass
class Sentences:
    """Terms of all sentences of some texts: a matrix (sentences, terms) of zeros and ones.

    Attributes:
        matrix: Shape (sentences, terms).
        names: The terms.
        text: Shape (sentences,): which text each is in.
    """

    matrix: sparse.csr_matrix
    names: list[str]
    text: np.ndarray


def read_sentences(texts: Sequence[str], fewest: int) -> Sentences:
    """Reads the sentences of texts, with terms that are in `fewest` of them or more."""
    each, text = [], []
    for number, whole in enumerate(texts):
        own = Said(whole).straight
        seen = [read_sentence(sentence, at == 0) for at, sentence in enumerate(sentences(own))]
        for one, more in zip(seen, context(seen), strict=True):
            each.append({term for _, _, term in terms(one)}.union(more))
            text.append(number)
    counted = Counter(term for one in each for term in one)
    names = sorted(term for term, count in counted.items() if count >= fewest)
    place = {name: at for at, name in enumerate(names)}
    columns = [sorted(place[term] for term in one if term in place) for one in each]
    starts = np.cumsum([0] + [len(one) for one in columns])
    flat = np.array([at for one in columns for at in one], dtype=np.int32)
    matrix = sparse.csr_matrix((np.ones(len(flat)), flat, starts), shape=(len(each), len(names)))
    return Sentences(matrix, names, np.array(text))


def regression(
    matrix: sparse.csr_matrix,
    truth: np.ndarray,
    weights: np.ndarray,
    penalty: Penalty,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Multinomial logistic regression with an elastic net, by FISTA (Beck and Teboulle 2009).

    Args:
        matrix: Shape (sentences, terms).
        truth: Shape (sentences, kinds): 1 for each sentence's kind; a row of zeros is of none.
        weights: Shape (sentences,), of each sentence in the loss.
        penalty: Of the weights; the biases have none.
        start: Where to begin.

    Returns:
        Shape (terms + 1, kinds); the last row has the biases, the kind "none" scores 0.
    """
    count, kinds = matrix.shape[1], truth.shape[1]
    turned = matrix.T.tocsr()
    # The loss' curvature is at most half of the largest eigenvalue: by power iteration.
    vector, largest = np.ones(count + 1), 1.0
    for _ in range(12):
        product = weights * (matrix @ vector[:-1] + vector[-1])
        vector = np.append(turned @ product, product.sum())
        largest = float(np.linalg.norm(vector))
        vector /= largest
    step = 1 / (0.55 * largest + penalty.ridge)
    now = np.zeros((count + 1, kinds)) if start is None else start.copy()
    ahead, momentum = now.copy(), 1.0
    for _ in range(STEPS):
        error = weights[:, None] * (shares(matrix @ ahead[:-1] + ahead[-1]) - truth)
        slope = np.vstack([turned @ error + penalty.ridge * ahead[:-1], error.sum(axis=0)])
        new = ahead - step * slope
        new[:-1] = np.sign(new[:-1]) * np.maximum(np.abs(new[:-1]) - step * penalty.lasso, 0)
        larger = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / larger * (new - now)
        now, momentum = new, larger
    return now


def shares(scores: np.ndarray) -> np.ndarray:
    """Probabilities of kinds from scores, beside the kind "none" that scores 0; the same shape."""
    top = np.maximum(scores.max(axis=1, keepdims=True), 0)
    raised = np.exp(scores - top)
    return raised / (raised.sum(axis=1, keepdims=True) + np.exp(-top))


def margins(scores: np.ndarray) -> np.ndarray:
    """Log odds of each kind against all others and none, shape (sentences, kinds)."""
    found = np.empty_like(scores)
    for kind in range(scores.shape[1]):
        others = np.delete(scores, kind, axis=1)
        found[:, kind] = scores[:, kind] - np.log1p(np.exp(others).sum(axis=1))
    return found


def fit_kinds(data: Sentences, kinds: np.ndarray, count: int, penalty: Penalty) -> np.ndarray:
    """Weights of all kinds, shape (terms + 1, kinds).

    Args:
        data: Sentences of all texts.
        kinds: Shape (texts,), the kind of each; `count` for none.
        count: Of kinds.
        penalty: Of the weights.
    """
    kind = kinds[data.text]
    truth = np.eye(count + 1)[kind][:, :count]
    share = np.where(kind < count, 1 / np.bincount(data.text)[data.text], 1.0)
    found = None
    for _ in range(ROUNDS):
        weights = share.copy()
        for each in range(count + 1):
            if (those := kind == each).any():
                weights[those] *= (NONE if each == count else 1.0) / share[those].sum()
        weights /= weights.sum()
        found = regression(data.matrix, truth, weights, penalty, found)
        own = margins(data.matrix @ found[:-1] + found[-1])
        own = np.where(kind < count, own[np.arange(kind.size), np.minimum(kind, count - 1)], 0.0)
        best = np.full(kinds.size, -np.inf)
        np.maximum.at(best, data.text, own)
        share = np.where(kind < count, own >= best[data.text], True) * 1.0
    return found
