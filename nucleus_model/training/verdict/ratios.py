"""How many times as much B has of a measure as A, with Fieller's interval (Fieller 1954).

A ratio of means has no finite variance, so its interval is the set of ratios r for which mean(b) -
r mean(a) can't be told from 0; where mean(a) may itself be 0, every ratio is possible.
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
    """Fieller's interval of mean(b) / mean(a).

    Args:
        a: (R,) of set A.
        b: (S,) of set B; as many, one replicate at the same place, where they are pairs.
        level: Its confidence.
        pairs: Whether replicates at the same place belong together.
        pilot: How many of the first replicates of each give the variances (Stein 1945); None for
            all of them.
        drawn: What the choice of each set's pictures adds to the variance of its mean, in variances
            of one replicate (`drawn.weights`); of no account for pairs.

    Returns:
        `mean` is the ratio, `p` that of a difference, `error` that of a first-order expansion. It
        is infinite to both sides where mean(a) is not told from 0: any ratio is possible then.

    Raises:
        ValueError: They are fewer than two, or not alike in number though they are pairs.
    """
    from scipy import special

    one, other = numbers(a, "a", 2), numbers(b, "b", 2)
    if pairs and len(one) != len(other):
        raise ValueError(f"a and b: as many of each are needed, got {len(one)} and {len(other)}")
    first, second = one[:pilot], other[:pilot]
    top, bottom = float(other.mean()), float(one.mean())
    found = top / bottom if bottom else float("nan")
    if pairs:
        aa, ab, bb = (np.cov(first, second, ddof=1) / len(one))[[0, 0, 1], [0, 1, 1]]
        degrees = float(len(first) - 1)
        p = paired(other - one, level).p
    else:
        aa, bb = (
            each[:pilot].var(ddof=1) * (1 / len(each) + more)
            for each, more in zip((one, other), drawn, strict=True)
        )
        ab = 0.0
        # Of mean(b) - r mean(a) at the ratio that was found.
        parts = [found**2 * aa, bb] if bottom else [aa, bb]
        degrees = satterthwaite(parts, [len(first) - 1, len(second) - 1])
        p = unpaired(one, other, level, drawn).p
    t = special.stdtrit(degrees, (1 + level) / 2)
    square = bottom**2 - t**2 * aa
    if bottom == 0 or square <= 0:
        return Interval(found, -np.inf, np.inf, np.inf, degrees, p, level)
    centre = (top * bottom - t**2 * ab) / square
    half = np.sqrt(max(0.0, centre**2 - (top**2 - t**2 * bb) / square))
    error = np.sqrt(max(0.0, bb - 2 * found * ab + found**2 * aa)) / abs(bottom)
    ends = float(centre - half), float(centre + half)
    return Interval(found, *ends, float(error), degrees, p, level)


def changes(found: Interval) -> tuple[Numbers, bool]:
    """A ratio's mean and ends as changes in percent, and whether it is a fall.

    Returns:
        (mean, low, high) of the change's size, ascending; a negative end says that the change may
        be the other way. And whether B has less than A.
    """
    percents = 100 * (np.array([found.mean, found.low, found.high]) - 1)
    if percents[0] < 0:
        return np.array([-percents[0], -percents[2], -percents[1]]), True
    return percents, False
