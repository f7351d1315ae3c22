"""The ratio of B's mean to A's, with Fieller's interval (Fieller 1954).

A ratio of means has no finite variance, so its interval is the set of ratios r for which mean(b) -
r mean(a) does not differ significantly from 0; if mean(a) itself does not, it is unbounded.
"""

import numpy as np
from numpy.typing import ArrayLike

from nucleus_model.training.verdict.intervals import (
    Interval,
    Numbers,
    numbers,
    paired,
    satterthwaite,
    unpaired,
)


def ratio(
    a: ArrayLike,
    b: ArrayLike,
    level: float = 0.95,
    *,
    pairs: bool = True,
    pilot: int | None = None,
    drawn: tuple[float, float] = (0.0, 0.0),
) -> Interval:
    """Computes Fieller's interval of mean(b) / mean(a).

    Args:
        a: (R,) values of set A.
        b: (S,) values of set B; S = R if they are paired.
        level: Confidence level.
        pairs: Whether replicates with the same index are paired.
        pilot: Number of first replicates of each set that give the variances (Stein 1945); None
            for all.
        drawn: What the choice of each set's pictures adds to the variance of its mean, in variances
            of one replicate (`drawn.weights`); ignored if they are paired.

    Returns:
        `mean` is the ratio, `p` is that of the difference, `error` that of a first-order expansion.
        The interval is unbounded on both sides if mean(a) does not differ significantly from 0.

    Raises:
        ValueError: There are fewer than two, or different numbers of pairs.
    """
    from scipy import special

    values_a, values_b = numbers(a, "a", 2), numbers(b, "b", 2)
    if pairs and len(values_a) != len(values_b):
        raise ValueError(
            f"a and b must have the same length, got {len(values_a)} and {len(values_b)}"
        )
    first, second = values_a[:pilot], values_b[:pilot]
    top, bottom = float(values_b.mean()), float(values_a.mean())
    estimate = top / bottom if bottom else float("nan")
    if pairs:
        aa, ab, bb = (np.cov(first, second, ddof=1) / len(values_a))[[0, 0, 1], [0, 1, 1]]
        degrees = float(len(first) - 1)
        p = paired(values_b - values_a, level).p
    else:
        aa, bb = (
            values[:pilot].var(ddof=1) * (1 / len(values) + more)
            for values, more in zip((values_a, values_b), drawn, strict=True)
        )
        ab = 0.0
        # The variances of mean(b) - r mean(a), at the estimated ratio r.
        parts = [estimate**2 * aa, bb] if bottom else [aa, bb]
        degrees = satterthwaite(parts, [len(first) - 1, len(second) - 1])
        p = unpaired(values_a, values_b, level, drawn).p
    t = special.stdtrit(degrees, (1 + level) / 2)
    square = bottom**2 - t**2 * aa
    if bottom == 0 or square <= 0:
        return Interval(estimate, -np.inf, np.inf, np.inf, degrees, p, level)
    centre = (top * bottom - t**2 * ab) / square
    half = np.sqrt(max(0.0, centre**2 - (top**2 - t**2 * bb) / square))
    error = np.sqrt(max(0.0, bb - 2 * estimate * ab + estimate**2 * aa)) / abs(bottom)
    ends = float(centre - half), float(centre + half)
    return Interval(estimate, *ends, float(error), degrees, p, level)


def changes(found: Interval) -> tuple[Numbers, bool]:
    """Converts a ratio and its interval to changes in percent.

    Returns:
        (mean, low, high) of the size of the change, with low < high (negative where the change may
        be in the other direction); and whether B is less than A.
    """
    percents = 100 * (np.array([found.mean, found.low, found.high]) - 1)
    if percents[0] < 0:
        return np.array([-percents[0], -percents[2], -percents[1]]), True
    return percents, False
