"""Heads on rated vectors: one linear layer, its penalty chosen and its worth told by folds.

`value` is ridge regression, `probability` logistic regression with the same penalty. How well a
head does is measured on pictures that it was not trained on, and the penalty is chosen without
them (nested cross-validation); the head that is kept is then trained on all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleus_data.engines.heads import Head, Kind, Layer

Numbers = NDArray[np.float64]
# Of the mean squared error of unit vectors: from no penalty to hardly any weight.
PENALTIES = tuple(float(f"{p:.1e}") for p in 10.0 ** np.arange(-6, 1.5, 0.5))
RESAMPLES = 1000
STEPS = 300


@dataclass(frozen=True)
class Trained:
    """A head and what it is worth.

    Attributes:
        head: Trained on all.
        penalty: What was chosen for it.
        penalties: What was chosen in each fold.
        said: (N,) what heads that did not see a picture said of it.
        correlation: Spearman's rank correlation of that with the ratings.
        low, high: Its interval of 95 %, by drawing clusters again and again.
        folds: The correlation within each fold.
        error: Root of the mean squared error, in the ratings' unit.
    """

    head: Head
    penalty: float
    penalties: tuple[float, ...]
    said: Numbers
    correlation: float
    low: float
    high: float
    folds: tuple[float, ...]
    error: float


def train_head(
    vectors: NDArray[np.floating],
    ratings: Numbers,
    clusters: Sequence[str],
    folds: Numbers,
    kind: Kind,
    seed: int,
) -> Trained:
    """Trains a head and measures it.

    Args:
        vectors: (N, D) unit vectors.
        ratings: (N,) numbers; of a probability, 0 to 1.
        clusters: (N,) what is drawn together for the interval: copies of a picture.
        folds: (N,) whole numbers from 0; all of a cluster have the same.
        kind: Of its result.
        seed: Of the interval's draws.
    """
    x, y = np.asarray(vectors, np.float64), np.asarray(ratings, np.float64)
    numbers = np.unique(folds)
    # What heads without two folds say of these two serves both as the one that is left out.
    inner = {
        frozenset((a, b)): _fitted(x, y, ~np.isin(folds, (a, b)), kind)
        for i, a in enumerate(numbers)
        for b in numbers[i + 1 :]
    }
    said, penalties = np.empty_like(y), []
    for fold in numbers:
        others = [other for other in numbers if other != fold]
        chosen = _chosen(
            [(inner[frozenset((fold, other))], folds == other) for other in others], x, y, kind
        )
        here = folds == fold
        (weights,) = _fitted(x, y, ~here, kind, (PENALTIES[chosen],))
        said[here] = _said(x[here], weights, kind)
        penalties.append(PENALTIES[chosen])
    every = [(_fitted(x, y, folds != fold, kind), folds == fold) for fold in numbers]
    best = PENALTIES[_chosen(every, x, y, kind)]
    (weights,) = _fitted(x, y, np.ones(len(y), bool), kind, (best,))
    layer = Layer(weights[None, :-1].astype(np.float32), weights[-1:].astype(np.float32))
    low, high = _interval(said, y, clusters, seed)
    return Trained(
        Head(kind, (layer,)),
        best,
        tuple(penalties),
        said,
        rank_correlation(said, y),
        low,
        high,
        tuple(rank_correlation(said[folds == fold], y[folds == fold]) for fold in numbers),
        float(np.sqrt(np.mean((said - y) ** 2))),
    )


def rank_correlation(one: Numbers, other: Numbers) -> float:
    """Spearman's rank correlation; 0 where one of them has one value alone."""
    ranks = [_ranks(values) for values in (one, other)]
    ranks = [rank - rank.mean() for rank in ranks]
    spread = float(np.sqrt(np.prod([rank @ rank for rank in ranks])))
    return float(ranks[0] @ ranks[1] / spread) if spread else 0.0


def _ranks(values: Numbers) -> Numbers:
    """The place of each value in ascending order; of equal ones, the mean of their places."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _fitted(
    x: Numbers,
    y: Numbers,
    where: NDArray[np.bool_],
    kind: Kind,
    penalties: Sequence[float] = PENALTIES,
) -> list[Numbers]:
    """Of each penalty, (D + 1,) weights with the bias at the end."""
    return (_ridge if kind == "value" else _logistic)(x[where], y[where], penalties)


def _ridge(x: Numbers, y: Numbers, penalties: Sequence[float]) -> list[Numbers]:
    """The least mean squared error plus the penalty times the weights' squares, in closed form."""
    middle, mean = x.mean(axis=0), y.mean()
    centred = x - middle
    values, axes = np.linalg.eigh(centred.T @ centred / len(x))
    along = axes.T @ (centred.T @ (y - mean) / len(x))
    found = []
    for penalty in penalties:
        weights = axes @ (along / (np.maximum(values, 0) + penalty))
        found.append(np.append(weights, mean - middle @ weights))
    return found


def _logistic(x: Numbers, y: Numbers, penalties: Sequence[float]) -> list[Numbers]:
    """The least mean cross-entropy plus half the penalty times the weights' squares."""
    from scipy.optimize import minimize

    def loss(weights: Numbers, penalty: float) -> tuple[float, Numbers]:
        out = x @ weights[:-1] + weights[-1]
        off = _sigmoid(out) - y
        value = np.mean(np.logaddexp(0, out) - y * out) + penalty / 2 * weights[:-1] @ weights[:-1]
        slope = np.append(x.T @ off / len(y) + penalty * weights[:-1], off.mean())
        return float(value), slope

    # From the greatest penalty on, each begins where the last one ended.
    start, found = np.zeros(x.shape[1] + 1), []
    for penalty in sorted(penalties, reverse=True):
        done = minimize(
            loss, start, (penalty,), method="L-BFGS-B", jac=True, options={"maxiter": STEPS}
        )
        start = done.x
        found.append(start)
    return found[::-1]


def _said(x: Numbers, weights: Numbers, kind: Kind) -> Numbers:
    out = x @ weights[:-1] + weights[-1]
    return out if kind == "value" else _sigmoid(out)


def _sigmoid(out: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-np.clip(out, -60, 60))))


def _chosen(
    fitted: Sequence[tuple[list[Numbers], NDArray[np.bool_]]], x: Numbers, y: Numbers, kind: Kind
) -> int:
    """The place of the penalty with the least squared error on what each did not see."""
    errors = np.zeros(len(PENALTIES))
    for weights, where in fitted:
        for place, one in enumerate(weights):
            errors[place] += np.sum((_said(x[where], one, kind) - y[where]) ** 2)
    return int(np.argmin(errors))


def _interval(said: Numbers, y: Numbers, clusters: Sequence[str], seed: int) -> tuple[float, float]:
    """95 % of the correlations of as many clusters, drawn with replacement."""
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.append(np.flatnonzero(np.diff(place[order], prepend=-1)), len(order))
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(starts) - 1, size=len(starts) - 1)
        sizes = starts[drawn + 1] - starts[drawn]
        offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = order[np.repeat(starts[drawn], sizes) + offsets]
        found.append(rank_correlation(said[rows], y[rows]))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
