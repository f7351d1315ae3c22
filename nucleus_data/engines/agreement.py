"""Measures how well scores separate matched from mismatched pairs of a picture and a caption.

All shares refer to an assumed share of matched pairs (`prior`): the pairs of each kind are weighted
such that their total weight follows the prior, whatever their number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]
DECILES = 10
Z = 1.959964  # quantile of the normal distribution for a 95 % interval


@dataclass(frozen=True)
class Pairs:
    """Scores of pairs of a picture and a caption.

    Attributes:
        matched: [N], scores of pairs that belong together.
        mismatched: [M], scores of pairs that do not.
        prior: Assumed share of matched pairs.
    """

    matched: Numbers
    mismatched: Numbers
    prior: float = 0.5

    @property
    def weights(self) -> tuple[float, float]:
        """Weight of one matched pair, and of one mismatched pair."""
        return self.prior / len(self.matched), (1 - self.prior) / len(self.mismatched)

    def share(self, matched: float, mismatched: float) -> float:
        """Returns the weighted share of matched pairs, given numbers of pairs of each kind."""
        one, other = self.weights
        return matched * one / (matched * one + mismatched * other)


@dataclass(frozen=True)
class Decile:
    """A tenth of the pairs, in the order of their scores.

    Attributes:
        pairs: Number of pairs.
        said: Weighted mean of their scores.
        observed: Weighted share of matched pairs.
        low, high: 95 % confidence interval of `observed` (Wilson).
    """

    pairs: int
    said: float
    observed: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Absolute difference of the mean score and the observed share."""
        return abs(self.said - self.observed)


@dataclass(frozen=True)
class Cut:
    """A threshold of scores below which captions are classified as wrong.

    Attributes:
        threshold: The threshold.
        precision: Share of mismatched pairs among those below the threshold.
        recall: Share of mismatched pairs that are below the threshold.
        best_precision: Maximum precision over all thresholds with at least this recall.
        best_recall: Maximum recall over all thresholds with at least this precision.
    """

    threshold: float
    precision: float
    recall: float
    best_precision: float
    best_recall: float


def area_under_curve(pairs: Pairs) -> float:
    """Returns the probability that a matched pair outscores a mismatched one; ties count half."""
    others = np.sort(pairs.mismatched)
    below = np.searchsorted(others, pairs.matched, "left")
    not_above = np.searchsorted(others, pairs.matched, "right")
    return float(np.mean(below + not_above) / (2 * len(others)))


def brier(pairs: Pairs) -> float:
    """Returns the Brier score: mean squared error of scores, clipped to 0..1, as probabilities."""
    one = np.mean((1 - np.clip(pairs.matched, 0, 1)) ** 2)
    other = np.mean(np.clip(pairs.mismatched, 0, 1) ** 2)
    return float(pairs.prior * one + (1 - pairs.prior) * other)


def wilson(found: float, of: int) -> tuple[float, float]:
    """Returns the 95 % Wilson interval of the share `found / of`."""
    share, z2 = found / of, Z * Z / of
    middle = (share + z2 / 2) / (1 + z2)
    half = Z / (1 + z2) * np.sqrt(share * (1 - share) / of + z2 / (4 * of))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def deciles(pairs: Pairs) -> list[Decile]:
    """Groups the pairs by score into ten groups of equal size, to compare scores with shares."""
    scores = np.concatenate([pairs.matched, pairs.mismatched])
    is_matched = np.arange(len(scores)) < len(pairs.matched)
    weights = np.where(is_matched, *pairs.weights)
    found = []
    for group in np.array_split(np.argsort(scores, kind="stable"), DECILES):
        matched, total = int(is_matched[group].sum()), len(group)
        low, high = (pairs.share(q, 1 - q) for q in wilson(matched, total))
        said = float(np.average(scores[group], weights=weights[group]))
        found.append(Decile(total, said, pairs.share(matched, total - matched), low, high))
    return found


def cuts(pairs: Pairs, thresholds: Sequence[float]) -> Iterator[Cut]:
    """Yields precision and recall of each threshold, and the best values of any threshold."""
    every = np.unique(np.concatenate([pairs.matched, pairs.mismatched]))
    precision, recall = _curve(pairs, np.append(every, np.inf))
    for threshold in thresholds:
        (own,), (found,) = _curve(pairs, np.array([threshold]))
        yield Cut(
            threshold,
            float(own),
            float(found),
            float(np.max(precision[recall >= found])),
            float(np.max(recall[precision >= own])),
        )


def _curve(pairs: Pairs, thresholds: Numbers) -> tuple[Numbers, Numbers]:
    """Returns precision and recall of each threshold; 1 and 0 if no pair is below it."""
    one, other = pairs.weights
    right = np.searchsorted(np.sort(pairs.matched), thresholds, "left") * one
    wrong = np.searchsorted(np.sort(pairs.mismatched), thresholds, "left") * other
    below = right + wrong
    precision = np.divide(wrong, below, out=np.ones_like(below), where=below > 0)
    return precision, wrong / (1 - pairs.prior)
