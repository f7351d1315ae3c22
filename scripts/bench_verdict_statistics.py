"""Checks the coverage of the verdict's intervals, by simulated comparisons with a known truth.

    python scripts/bench_verdict_statistics.py              # 20,000 comparisons a row; minutes
    python scripts/bench_verdict_statistics.py --quick --json statistics.json

A comparison is a table of seeds and pictures: the loss of a picture under a seed's model in arm B
minus that in arm A. Both arms draw the effects of their seeds from the same distribution, so the
planted difference is the only true one. As a negative control, an interval over pictures alone is
included, which must fail.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleus_model.training.verdict.intervals import (
    Interval,
    bonferroni,
    crossed,
    paired,
    unpaired,
)
from nucleus_model.training.verdict.replicates import after_pilot, stein
from scripts.benchmark import Measure, parser, publish

Numbers = NDArray[np.float64]
Shape = Callable[[np.random.Generator, tuple[int, ...]], Numbers]
# Standard deviations, in the unit of the held-out loss: of a seed pair's difference with equal ids;
# of what different ids add (both measured once, nano, 100 steps); of a picture's difference; and of
# its residual under a seed (both assumed, as the self-test fits them).
SEED, DATA, PICTURE, REST = 0.0032, 0.013, 0.02, 0.01
SEEDS, PICTURES, MEASURES = 6, 160, 6
TRUTH = 0.0104
GOAL = 94.5


@dataclass(frozen=True)
class Size:
    """Number of simulated comparisons per row, and of resamples of the negative control."""

    draws: int = 20_000
    resamples: int = 400


QUICK = Size(draws=400, resamples=100)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    """Draws from the standard normal distribution."""
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    """Draws from a shifted gamma distribution of shape 2, mean 0, deviation 1, skewness 1.4."""
    return (rng.standard_gamma(2.0, shape) - 2) / np.sqrt(2)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    """Draws from Student's t with 5 degrees of freedom, scaled to deviation 1."""
    return rng.standard_t(5, shape) / np.sqrt(5 / 3)


SHAPES: dict[str, Shape] = {"normal": normal, "skewed": skewed, "t(5)": heavy}


def arms(rng: np.random.Generator, shape: Shape, deviation: float, size: int) -> Numbers:
    """Draws the differences of two independent arms, with a given standard deviation."""
    a, b = shape(rng, (2, size)) * deviation / np.sqrt(2)
    difference: Numbers = b - a
    return difference


def coverage(found: Iterator[Interval], truth: float = TRUTH) -> float:
    """Returns the share of intervals that contain the truth, in percent."""
    return 100 * float(np.mean([interval.low <= truth <= interval.high for interval in found]))


def fixed(rng: np.random.Generator, shape: Shape, draws: int) -> Iterator[Interval]:
    """Yields intervals from six seed pairs of two sets with equal ids, on fixed pictures."""
    for _ in range(draws):
        yield paired(TRUTH + arms(rng, shape, SEED, SEEDS))


def staged(rng: np.random.Generator, shape: Shape, draws: int, most: int) -> Iterator[Interval]:
    """Yields intervals by Stein's two stages: a pilot of six, then up to `most` runs."""
    for _ in range(draws):
        differences = TRUTH + arms(rng, shape, SEED, most)
        pilot = differences[:SEEDS].std(ddof=1)
        count = stein(float(pilot), SEEDS, SEED * 0.6, most)
        yield after_pilot(differences[:count], SEEDS)


def differing(rng: np.random.Generator, shape: Shape, draws: int) -> Iterator[Interval]:
    """Yields intervals from six replicates each of two recipes, unpaired, with data drawn anew."""
    deviation = np.hypot(SEED, DATA) / np.sqrt(2)
    for _ in range(draws):
        a, b = shape(rng, (2, SEEDS)) * deviation
        yield unpaired(a, TRUTH + b)


def tables(rng: np.random.Generator, shape: Shape, draws: int) -> Iterator[Numbers]:
    """Yields tables of differences, with random seeds and pictures."""
    for _ in range(draws):
        seeds, pictures = arms(rng, shape, SEED, SEEDS), arms(rng, shape, PICTURE, PICTURES)
        rest = rng.standard_normal((SEEDS, PICTURES)) * REST
        yield TRUTH + seeds[:, None] + pictures + rest


def over_pictures(
    rng: np.random.Generator, shape: Shape, draws: int, resamples: int
) -> Iterator[Interval]:
    """Yields the negative control: bootstrap intervals over pictures alone, of one seed pair.

    Both sets are evaluated on the same pictures, so a picture's own difference is part of the
    truth. The residuals of the pictures are `REST`, and do not show the effect of the seed.
    """
    for _ in range(draws):
        (seed,) = arms(rng, shape, SEED, 1)
        mean = TRUTH + seed + rng.standard_normal(PICTURES) * REST
        picks = rng.multinomial(PICTURES, [1 / PICTURES] * PICTURES, size=resamples)
        low, high = np.quantile(picks @ mean / PICTURES, [0.025, 0.975])
        yield Interval(float(mean.mean()), float(low), float(high), 0.0, 0.0, 0.0, 0.95)


def false_alarms(rng: np.random.Generator, shape: Shape, draws: int) -> float:
    """Returns the percentage of equal arms where Holm rejects any of six correlated measures."""
    alarms = 0
    for _ in range(draws):
        shared = arms(rng, shape, 1.0, SEEDS)[:, None]
        own = np.stack([arms(rng, shape, 1.0, SEEDS) for _ in range(MEASURES)], axis=1)
        p = [paired(column).p for column in (shared + own).T]
        alarms += min(p) * MEASURES < 0.05  # equivalent to Holm rejecting any
    return 100 * alarms / draws


def together(rng: np.random.Generator, shape: Shape, draws: int) -> float:
    """Returns the percentage of comparisons whose six Bonferroni intervals all hold the truth."""
    level, held = bonferroni(0.95, MEASURES), 0
    for _ in range(draws):
        shared = arms(rng, shape, 1.0, SEEDS)[:, None]
        own = np.stack([arms(rng, shape, 1.0, SEEDS) for _ in range(MEASURES)], axis=1)
        intervals = [paired(column, level) for column in (shared + own).T]
        held += all(interval.low <= 0 <= interval.high for interval in intervals)
    return 100 * held / draws


def bench(size: Size) -> list[Measure]:
    """Simulates everything, and returns the rows of the table."""
    rows = []

    def row(name: str, value: float, goal: str | None) -> None:
        print(f"{name}: {value:.2f} %", file=sys.stderr, flush=True)
        rows.append(Measure(name, float(f"{value:.4g}"), "%", goal, size.draws))

    for word, shape in SHAPES.items():
        # A generator per row of the table, so that rows do not depend on each other.
        def rng(number: int, word: str = word) -> np.random.Generator:
            return np.random.default_rng([number, *word.encode()])

        enough = f">= {GOAL}"
        row(f"6 seed pairs, {word}", coverage(fixed(rng(0), shape, size.draws)), enough)
        for most in (30, 8):
            staged_ = staged(rng(most), shape, size.draws, most)
            row(f"Stein, at most {most}, {word}", coverage(staged_), enough)
        row(
            f"differing ids, 6 and 6, {word}",
            coverage(differing(rng(1), shape, size.draws)),
            enough,
        )
        new = (crossed(table) for table in tables(rng(2), shape, size.draws))
        row(f"new pictures, crossed, {word}", coverage(new), enough)
        row(f"all of 6 measures, {word}", together(rng(3), shape, size.draws), enough)
        alarms = false_alarms(rng(4), shape, size.draws)
        row(f"false alarms of 6 measures, Holm, {word}", alarms, "<= 5.5")
        few = max(100, size.draws // 10)
        control = coverage(over_pictures(rng(5), shape, few, size.resamples))
        row(f"pictures alone (must fail), {word}", control, "<= 60")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__).parse_args(arguments)
    publish(bench(QUICK if options.quick else Size()), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
