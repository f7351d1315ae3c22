"""Number of replicates: power analysis beforehand, Stein's two-stage rule after a pilot.

Deciding by the means whether to continue would give intervals with too low a coverage (90 to 95 %
instead of 95 %). Stein (1945) uses only the pilot's deviation, also for the final interval, which
then has the right coverage whatever number of replicates results.
"""

import math

from nucleus_model.training.verdict.intervals import (
    Interval,
    Numbers,
    numbers,
    satterthwaite,
    t_interval,
)


def stein(deviation: float, pilot: int, half_width: float, most: int, level: float = 0.95) -> int:
    """Returns the total number of replicates for an interval of the wanted half-width.

    Args:
        deviation: Standard deviation of the pilot's differences (with R - 1 in the denominator).
        pilot: Number of pilot replicates; two or more.
        half_width: The wanted half-width, in the measure's unit; above 0.
        most: Maximum number of replicates; at least `pilot`.
        level: Confidence level.

    Returns:
        A number from `pilot` to `most`. If limited by `most`, the interval is wider than wanted,
        but has the right coverage.

    Raises:
        ValueError: An argument is out of range.
    """
    from scipy import special

    if pilot < 2 or half_width <= 0 or most < pilot or not deviation >= 0:
        raise ValueError(
            f"pilot must be at least 2, half_width above 0, most at least pilot, and deviation 0 "
            f"or more; got pilot={pilot}, half_width={half_width}, most={most}, "
            f"deviation={deviation}"
        )
    t = special.stdtrit(pilot - 1, (1 + level) / 2)
    return min(most, max(pilot, math.ceil((t * deviation / half_width) ** 2)))


def after_pilot(differences: Numbers, pilot: int, level: float = 0.95) -> Interval:
    """Computes the interval over all replicates, using the deviation of the first `pilot` ones.

    Raises:
        ValueError: There are fewer than the pilot's, or the pilot has fewer than two.
    """
    values = numbers(differences, "differences", max(2, pilot))
    deviation = values[:pilot].std(ddof=1)
    return t_interval(values.mean(), deviation / math.sqrt(len(values)), pilot - 1, level)


def after_pilots(
    a: Numbers,
    b: Numbers,
    pilot: int,
    level: float = 0.95,
    drawn: tuple[float, float] = (0.0, 0.0),
) -> Interval:
    """Computes the interval of mean(b) - mean(a) for unpaired replicates after a pilot.

    Args:
        a: (R,) values of set A.
        b: (S,) values of set B.
        pilot: Number of first replicates of each set that give the deviations.
        level: Confidence level.
        drawn: Variances to add to the means of A and B, in units of one replicate's variance.

    Raises:
        ValueError: There are fewer than the pilot's, or the pilot has fewer than two.
    """
    values_a, values_b = numbers(a, "a", max(2, pilot)), numbers(b, "b", max(2, pilot))
    parts = [
        values[:pilot].var(ddof=1) * (1 / len(values) + more)
        for values, more in zip((values_a, values_b), drawn, strict=True)
    ]
    degrees = satterthwaite(parts, [pilot - 1] * 2)
    return t_interval(values_b.mean() - values_a.mean(), math.sqrt(sum(parts)), degrees, level)


def pilot_deviation(a: Numbers, b: Numbers, *, pairs: bool) -> float:
    """Computes the standard deviation of one replicate's difference, B minus A.

    Args:
        a: (R,) values of set A.
        b: (R,) values of set B.
        pairs: Whether replicates with the same index are paired; if not, the variances of both
            sets are added.
    """
    if pairs:
        return float((b - a).std(ddof=1))
    return math.sqrt(a.var(ddof=1) + b.var(ddof=1))


def detectable(error: float, degrees: float, level: float = 0.95, power: float = 0.8) -> float:
    """Computes the difference that a t test detects with a given power.

    Args:
        error: Standard error of the estimate.
        degrees: Its degrees of freedom.
        level: Confidence level of the test.
        power: Probability of detecting the difference.

    Returns:
        The difference, in the measure's unit.
    """
    from scipy import special

    if error == 0:
        return 0.0
    critical = special.stdtrit(degrees, (1 + level) / 2)
    # The noncentrality at which the upper tail beyond the critical value equals the power; the
    # lower tail is negligible there.
    return float(special.nctdtrinc(degrees, 1 - power, critical)) * error
