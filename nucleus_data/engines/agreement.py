"""How well scores tell matched pairs from mismatched ones: curves, errors, intervals, in numpy.

All shares are at an assumed share of matched pairs (`prior`): each kind of pair weighs as much
together as the prior says, however many of it there are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]
DECILES = 10
Z = 1.959964  # of 95 %


@dataclass(frozen=True)
class Pairs:
    """Scores of pairs of a picture and a caption.

    Attributes:
        matched: (N,) of those that belong together.
        mismatched: (M,) of those that do not.
        prior: The share of matched pairs that is assumed.
    """

    matched: Numbers
    mismatched: Numbers
    prior: float = 0.5

    @property
    def weights(self) -> tuple[float, float]:
        """What one pair of each kind weighs."""
        return self.prior / len(self.matched), (1 - self.prior) / len(self.mismatched)

    def share(self, matched: float, mismatched: float) -> float:
        """The share of matched pairs among so many of each kind."""
        one, other = self.weights
        return matched * one / (matched * one + mismatched * other)


@dataclass(frozen=True)
class Decile:
    """A tenth of the pairs, by their score.

    Attributes:
        pairs: How many.
        said: Mean of their scores.
        observed: The share of matched ones.
        low, high: Its interval of 95 % (Wilson).
    """

    pairs: int
    said: float
    observed: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """How far the mean is from the observed share."""
        return abs(self.said - self.observed)


@dataclass(frozen=True)
class Cut:
    """A threshold below which a caption is taken for wrong.

    Attributes:
        threshold: The threshold.
        precision: The share of mismatched pairs below it.
        recall: The share of all mismatched pairs that is below it.
        best_precision: The greatest precision of any threshold with this recall or more.
        best_recall: The greatest recall of any threshold with this precision or more.
    """

    threshold: float
    precision: float
    recall: float
    best_precision: float
    best_recall: float


def area_under_curve(pairs: Pairs) -> float:
    """The chance that a matched pair scores above a mismatched one; half of it if they are even."""
    others = np.sort(pairs.mismatched)
    below = np.searchsorted(others, pairs.matched, "left")
    not_above = np.searchsorted(others, pairs.matched, "right")
    return float(np.mean(below + not_above) / (2 * len(others)))


def brier(pairs: Pairs) -> float:
    """Mean squared error of scores taken as probabilities; a score outside 0 to 1 as its end."""
    one = np.mean((1 - np.clip(pairs.matched, 0, 1)) ** 2)
    other = np.mean(np.clip(pairs.mismatched, 0, 1) ** 2)
    return float(pairs.prior * one + (1 - pairs.prior) * other)


def wilson(found: float, of: int) -> tuple[float, float]:
    """Wilson's interval of 95 % of a share that was counted."""
    share, z2 = found / of, Z * Z / of
    middle = (share + z2 / 2) / (1 + z2)
    half = Z / (1 + z2) * np.sqrt(share * (1 - share) / of + z2 / (4 * of))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def deciles(pairs: Pairs) -> list[Decile]:
    """Ten groups of equally many pairs by score, what scores say of them and what is so."""
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
    """What finding wrong captions by thresholds is worth, beside the best that any could do."""
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
    """Precision and recall of mismatched pairs below each threshold; 1 and 0 where none is."""
    one, other = pairs.weights
    right = np.searchsorted(np.sort(pairs.matched), thresholds, "left") * one
    wrong = np.searchsorted(np.sort(pairs.mismatched), thresholds, "left") * other
    below = right + wrong
    precision = np.divide(wrong, below, out=np.ones_like(below), where=below > 0)
    return precision, wrong / (1 - pairs.prior)
