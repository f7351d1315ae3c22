"""Confidence intervals of a difference between two sets, B minus A, from replicates of small runs.

The unit of replication is the run: its seed (or its seed and draw of the data) varies the loss more
than the choice of evaluated pictures does, so an interval over pictures alone would find
differences between equal sets (it did, in 6 of 6 comparisons).

| claim about | interval |
|---|---|
| these two sets on these pictures, most ids in both | `paired`: t over replicates |
| these two sets with different ids, so that seeds are not paired | `unpaired`: Welch 1947 |
| other evaluated pictures as well | `crossed`: seeds and pictures (Clark 1973, Owen 2007) |
| the ratio of B to A | `ratios.ratio`: Fieller 1954 |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Attributes:
        mean: The estimate, in the measure's unit.
        low, high: Ends of the interval; infinite if it is unbounded.
        error: Standard error of the estimate.
        degrees: Degrees of freedom of `error`.
        p: Two-sided p value for no difference, unadjusted.
        level: Confidence level.
    """

    mean: float
    low: float
    high: float
    error: float
    degrees: float
    p: float
    level: float


def paired(differences: ArrayLike, level: float = 0.95) -> Interval:
    """Computes the t interval of paired differences over replicates.

    Args:
        differences: (R,) B minus A, one per replicate; R of 2 or more.
        level: Confidence level.

    Raises:
        ValueError: There are fewer than two.
    """
    values = numbers(differences, "differences", 2)
    return t_interval(
        values.mean(), values.std(ddof=1) / np.sqrt(len(values)), len(values) - 1, level
    )


def unpaired(
    a: ArrayLike, b: ArrayLike, level: float = 0.95, drawn: tuple[float, float] = (0.0, 0.0)
) -> Interval:
    """Computes Welch's interval of mean(b) - mean(a), for unpaired replicates.

    Args:
        a: (R,) values of set A; R of 2 or more.
        b: (S,) values of set B; S of 2 or more.
        level: Confidence level.
        drawn: Variances to add to the means of A and B, in units of one replicate's variance.

    Raises:
        ValueError: There are fewer than two of one.
    """
    values_a, values_b = numbers(a, "a", 2), numbers(b, "b", 2)
    parts = [
        values.var(ddof=1) * (1 / len(values) + more)
        for values, more in zip((values_a, values_b), drawn, strict=True)
    ]
    degrees = satterthwaite(parts, [len(values_a) - 1, len(values_b) - 1])
    return t_interval(values_b.mean() - values_a.mean(), np.sqrt(sum(parts)), degrees, level)


def crossed(differences: ArrayLike, level: float = 0.95) -> Interval:
    """Computes the interval of the mean over new seeds and new pictures, in a crossed design.

    With seeds and pictures as random effects, the variance of the mean is (rows + columns - rest) /
    cells in mean squares; its degrees of freedom are Satterthwaite's (1946). If by chance that is
    smaller than one of its two parts, the larger part is used instead.

    Args:
        differences: (R, N) B minus A, with a row per replicate and a column per picture; R and N
            of 2 or more.
        level: Confidence level.

    Raises:
        ValueError: The table is too small, or not finite.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(
            f"differences must be a table of finite numbers, at least 2 x 2, got {table.shape}"
        )
    seeds, pictures = table.shape
    by_seed, by_picture, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    rest = table - by_seed[:, None] - by_picture[None, :] + mean
    degrees = [seeds - 1, pictures - 1, (seeds - 1) * (pictures - 1)]
    sums = [
        pictures * ((by_seed - mean) ** 2).sum(),
        seeds * ((by_picture - mean) ** 2).sum(),
        (rest**2).sum(),
    ]
    rows, columns, left = (s / d / table.size for s, d in zip(sums, degrees, strict=True))
    both = rows + columns - left
    if both > max(rows, columns):
        return t_interval(
            mean, np.sqrt(both), satterthwaite([rows, columns, left], degrees, both), level
        )
    larger = int(columns > rows)
    return t_interval(mean, np.sqrt(max(rows, columns)), degrees[larger], level)


def widened(interval: Interval, variance: float, degrees: float, level: float) -> Interval:
    """Widens an interval by a further variance with its own degrees of freedom."""
    parts = [interval.error**2, variance]
    return t_interval(
        interval.mean,
        np.sqrt(sum(parts)),
        satterthwaite(parts, [interval.degrees, degrees]),
        level,
    )


def holm(p: Sequence[float]) -> list[float]:
    """Adjusts p values to bound the family-wise error rate (Holm 1979); keeps their order."""
    # Not by statsmodels, with which a test compares it: its `multipletests` collects all garbage of
    # the process each time, which took 0.2 s where much is loaded, and its import takes a second.
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(value) for value in adjusted]


def bonferroni(level: float, measures: int) -> float:
    """Returns the level of each of `measures` intervals that hold simultaneously at `level`."""
    return 1 - (1 - level) / measures


def joint_sign_flips(differences: ArrayLike, seed: int = 0) -> list[float]:
    """Computes adjusted p values by sign flips of replicates (Westfall and Young 1993, max-t).

    All measures of a replicate flip together, which accounts for their correlation. With R
    replicates, no p value can be below 2 / 2^R: 0.031 for six.

    Args:
        differences: (R, M) B minus A, with a row per replicate and a column per measure.
        seed: Seed of the random flips, used if there are more than 2^14 possible ones.

    Returns:
        One p value per measure.
    """
    from scipy import stats

    table = np.asarray(differences, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2 or not np.isfinite(table).all():
        raise ValueError(
            f"differences must be (R, M) finite numbers, with R at least 2, got {table.shape}"
        )
    observed = np.abs(_t(table, axis=0))

    def largest(flipped: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        # scipy flips the signs of a single sample; the same signs are applied to all measures.
        signs = np.moveaxis(np.asarray(flipped), axis, 0)[:, ..., None]
        shape = (len(table),) + (1,) * (signs.ndim - 2) + (table.shape[1],)
        most: NDArray[np.float64] = np.abs(_t(signs * table.reshape(shape), axis=0)).max(axis=-1)
        return most

    drawn = stats.permutation_test(
        (np.ones(len(table)),),
        largest,
        permutation_type="samples",
        n_resamples=2**14,
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).null_distribution
    exact = 2 ** len(table) <= 2**14
    return [
        float(((drawn >= value * (1 - 1e-12)).sum() + (not exact)) / (len(drawn) + (not exact)))
        for value in observed
    ]


def _t(table: Numbers, axis: int) -> Numbers:
    """Returns Student's t of the mean; 0 where all differences are 0."""
    count = table.shape[axis]
    mean, deviation = table.mean(axis=axis), table.std(axis=axis, ddof=1)
    error = deviation / np.sqrt(count)
    # A nonzero mean without any spread has an infinite t.
    return np.divide(
        mean, error, out=np.where(mean == 0, 0.0, np.copysign(np.inf, mean)), where=error > 0
    )


def satterthwaite(
    parts: Sequence[float], degrees: Sequence[float], total: float | None = None
) -> float:
    """Computes the degrees of freedom of a sum of mean squares (Satterthwaite 1946)."""
    whole = sum(parts) if total is None else total
    spread = sum(part**2 / of for part, of in zip(parts, degrees, strict=True))
    return float(whole**2 / spread) if spread else float(min(degrees))


def t_interval(mean: float, error: float, degrees: float, level: float) -> Interval:
    """Computes the t interval of an estimate from its standard error and degrees of freedom."""
    from scipy import special  # a hundred times as fast as stats.t, which matters in simulations

    half = special.stdtrit(degrees, (1 + level) / 2) * error
    if error > 0:
        p = float(2 * special.stdtr(degrees, -abs(mean) / error))
    else:
        p = 1.0 if mean == 0 else 0.0
    return Interval(
        float(mean),
        float(mean - half),
        float(mean + half),
        float(error),
        float(degrees),
        p,
        level,
    )


def numbers(values: ArrayLike, name: str, least: int) -> Numbers:
    """Checks that values are a row of at least `least` finite numbers. Raises ValueError."""
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or len(row) < least or not np.isfinite(row).all():
        raise ValueError(f"{name} must be a list of at least {least} finite numbers, got {row!r}")
    return row
