"""How many replicates a comparison needs: power before it, Stein's rule after a pilot.

Looking at the means to decide whether to go on would make intervals too narrow (90 to 95 % instead
of 95). Stein (1945) looks at the pilot's deviation alone, and keeps it for the final interval,
which then has its level whatever the number of replicates came out as.
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
    """Replicates in all so that the interval is `half_width` wide to each side.

    Args:
        deviation: Of the pilot's differences (with R - 1 in the denominator).
        pilot: Replicates of the pilot; two or more.
        half_width: What is wanted, in the measure's unit; above 0.
        most: What the budget allows; the pilot at least.
        level: Of the interval.

    Returns:
        From `pilot` to `most`. Where `most` cuts it, the interval is wider, and as sure.

    Raises:
        ValueError: A number is not as said.
    """
    from scipy import special

    if pilot < 2 or half_width <= 0 or most < pilot or not deviation >= 0:
        raise ValueError(
            f"a pilot of 2 or more, a half-width above 0 and at least the pilot as budget are "
            f"needed; got pilot={pilot}, half_width={half_width}, most={most}, "
            f"deviation={deviation}"
        )
    t = special.stdtrit(pilot - 1, (1 + level) / 2)
    return min(most, max(pilot, math.ceil((t * deviation / half_width) ** 2)))


def after_pilot(differences: Numbers, pilot: int, level: float = 0.95) -> Interval:
    """The interval over all replicates by the deviation of the pilot's, the first `pilot` of them.

    Raises:
        ValueError: There are fewer than the pilot's, or the pilot has fewer than two.
    """
    found = numbers(differences, "differences", max(2, pilot))
    deviation = found[:pilot].std(ddof=1)
    return t_interval(found.mean(), deviation / math.sqrt(len(found)), pilot - 1, level)


def after_pilots(
    a: Numbers,
    b: Numbers,
    pilot: int,
    level: float = 0.95,
    drawn: tuple[float, float] = (0.0, 0.0),
) -> Interval:
    """The interval of mean(b) - mean(a) of replicates that are no pairs, by the pilots' deviations.

    Args:
        a: (R,) of set A.
        b: (S,) of set B.
        pilot: How many of the first of each Stein's rule has looked at.
        level: Of the interval.
        drawn: What is added to the variance of each mean, in variances of one replicate.

    Raises:
        ValueError: There are fewer than the pilot's, or the pilot has fewer than two.
    """
    one, other = numbers(a, "a", max(2, pilot)), numbers(b, "b", max(2, pilot))
    parts = [
        each[:pilot].var(ddof=1) * (1 / len(each) + more)
        for each, more in zip((one, other), drawn, strict=True)
    ]
    degrees = satterthwaite(parts, [pilot - 1] * 2)
    return t_interval(other.mean() - one.mean(), math.sqrt(sum(parts)), degrees, level)


def pilot_deviation(a: Numbers, b: Numbers, *, pairs: bool) -> float:
    """The deviation of one replicate's difference, B minus A.

    Args:
        a: (R,) of set A.
        b: (R,) of set B.
        pairs: Whether replicates at the same place belong together; else both deviations add up.
    """
    if pairs:
        return float((b - a).std(ddof=1))
    return math.sqrt(a.var(ddof=1) + b.var(ddof=1))


def detectable(error: float, degrees: float, level: float = 0.95, power: float = 0.8) -> float:
    """The difference that a t test sees with some power.

    Args:
        error: Standard error of the estimate.
        degrees: Its degrees of freedom.
        level: Of the test.
        power: The share of comparisons that see it.

    Returns:
        In the measure's unit.
    """
    from scipy import special

    if error == 0:
        return 0.0
    critical = special.stdtrit(degrees, (1 + level) / 2)
    # The noncentral t whose upper tail beyond the critical value is the power; that it falls
    # beyond the lower one is of no account there.
    return float(special.nctdtrinc(degrees, 1 - power, critical)) * error


def smallest_detectable(
    deviation: float, replicates: int, level: float = 0.95, power: float = 0.8
) -> float:
    """The difference that a t test over replicates sees with some power.

    Args:
        deviation: Of one replicate's difference.
        replicates: How many; two or more.
        level: Of the test.
        power: The share of comparisons that see it.

    Returns:
        In the measure's unit.
    """
    return detectable(deviation / math.sqrt(replicates), replicates - 1, level, power)
