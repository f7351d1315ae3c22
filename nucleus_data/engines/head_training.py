"""Trains linear heads on rated vectors, with nested cross-validation.

A `value` is fitted by ridge regression, a `probability` by logistic regression with the same
penalty. The quality is measured on pictures on which a head was not trained, and its penalty is
chosen without them as well. The final head is then trained on all pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleus_data.engines.heads import Head, Kind, Layer

Numbers = NDArray[np.float64]
# Candidates, relative to the mean squared error on unit vectors; they range from practically no
# penalty to almost vanishing weights.
PENALTIES = tuple(float(f"{p:.1e}") for p in 10.0 ** np.arange(-6, 1.5, 0.5))
RESAMPLES = 1000
STEPS = 300


@dataclass(frozen=True)
class Trained:
    """A trained head and its quality.

    Attributes:
        head: The head, trained on all pictures.
        penalty: Penalty of `head`.
        penalties: Penalty that was chosen in each fold.
        said: float64[N], predictions by heads that were not trained on the picture.
        correlation: Spearman's rank correlation of `said` with the ratings.
        low, high: 95 % confidence interval of `correlation`, by a bootstrap over clusters.
        folds: The correlation within each fold.
        error: Root mean squared error of `said`, in the ratings' unit.
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
    """Trains a head and measures its quality.

    Args:
        vectors: [N, D], unit vectors.
        ratings: [N], the ratings; 0 to 1 for a probability.
        clusters: Cluster of each of the N pictures, such as the copies of one picture; the
            bootstrap draws clusters.
        folds: [N], fold of each picture, integers from 0; pictures of a cluster share a fold.
        kind: Kind of the head's result.
        seed: Seed of the bootstrap.
    """
    x, y = np.asarray(vectors, np.float64), np.asarray(ratings, np.float64)
    numbers = np.unique(folds)
    # A fit without two folds serves twice, with either of them as the outer fold.
    inner = {
        frozenset((a, b)): _fitted(x, y, ~np.isin(folds, (a, b)), kind)
        for i, a in enumerate(numbers)
        for b in numbers[i + 1 :]
    }
    predictions, penalties = np.empty_like(y), []
    for fold in numbers:
        others = [other for other in numbers if other != fold]
        chosen = _chosen(
            [(inner[frozenset((fold, other))], folds == other) for other in others], x, y, kind
        )
        here = folds == fold
        (weights,) = _fitted(x, y, ~here, kind, (PENALTIES[chosen],))
        predictions[here] = _said(x[here], weights, kind)
        penalties.append(PENALTIES[chosen])
    every = [(_fitted(x, y, folds != fold, kind), folds == fold) for fold in numbers]
    best = PENALTIES[_chosen(every, x, y, kind)]
    (weights,) = _fitted(x, y, np.ones(len(y), bool), kind, (best,))
    layer = Layer(weights[None, :-1].astype(np.float32), weights[-1:].astype(np.float32))
    low, high = _interval(predictions, y, clusters, seed)
    return Trained(
        Head(kind, (layer,)),
        best,
        tuple(penalties),
        predictions,
        rank_correlation(predictions, y),
        low,
        high,
        tuple(rank_correlation(predictions[folds == fold], y[folds == fold]) for fold in numbers),
        float(np.sqrt(np.mean((predictions - y) ** 2))),
    )


def rank_correlation(one: Numbers, other: Numbers) -> float:
    """Returns Spearman's rank correlation; 0 if the values of either array are all equal."""
    ranks = [_ranks(values) for values in (one, other)]
    ranks = [rank - rank.mean() for rank in ranks]
    spread = float(np.sqrt(np.prod([rank @ rank for rank in ranks])))
    return float(ranks[0] @ ranks[1] / spread) if spread else 0.0


def _ranks(values: Numbers) -> Numbers:
    """Returns the rank of each value in ascending order; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _fitted(
    x: Numbers,
    y: Numbers,
    where: NDArray[np.bool_],
    kind: Kind,
    penalties: Sequence[float] = PENALTIES,
) -> list[Numbers]:
    """Fits weights for each penalty: float64[D + 1], the bias last."""
    return (_ridge if kind == "value" else _logistic)(x[where], y[where], penalties)


def _ridge(x: Numbers, y: Numbers, penalties: Sequence[float]) -> list[Numbers]:
    """Minimises the mean squared error plus penalty * |weights|^2, in closed form."""
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
    """Minimises the mean cross-entropy plus penalty / 2 * |weights|^2."""
    from scipy.optimize import minimize

    def loss(weights: Numbers, penalty: float) -> tuple[float, Numbers]:
        out = x @ weights[:-1] + weights[-1]
        off = _sigmoid(out) - y
        value = np.mean(np.logaddexp(0, out) - y * out) + penalty / 2 * weights[:-1] @ weights[:-1]
        slope = np.append(x.T @ off / len(y) + penalty * weights[:-1], off.mean())
        return float(value), slope

    # Penalties are processed in descending order, each fit starting from the previous solution.
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
    """Returns the index of the penalty with the least squared error on held-out rows.

    Args:
        fitted: Weights for each penalty, and the rows that were held out of that fit.
        x: float64[N, D], the vectors.
        y: float64[N], the ratings.
        kind: Kind of the head's result.
    """
    errors = np.zeros(len(PENALTIES))
    for weights, where in fitted:
        for place, one in enumerate(weights):
            errors[place] += np.sum((_said(x[where], one, kind) - y[where]) ** 2)
    return int(np.argmin(errors))


def _interval(
    predictions: Numbers, y: Numbers, clusters: Sequence[str], seed: int
) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of the correlation, drawing clusters with replacement."""
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
        found.append(rank_correlation(predictions[rows], y[rows]))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
