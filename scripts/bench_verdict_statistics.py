"""Checks the coverage of the verdict's intervals, by simulated comparisons with a known truth.

    python scripts/bench_verdict_statistics.py              # 20,000 comparisons a row; minutes
    python scripts/bench_verdict_statistics.py --quick --json statistics.json

Exit code 1: a goal is missed (with --quick, by more than three standard errors).

A comparison is a table of seeds and pictures: the loss of a picture under a seed's model in arm B
minus that in arm A. Both arms draw the effects of their seeds from the same distribution, so the
planted difference is the only true one. As a negative control, an interval over pictures alone is
included, which must fail.

The deviations over seeds and sets, and the correlations of the measures, are fitted to the
self-test's lines (`fit`). Those of single pictures are assumed, because the lines have only means.

Of a claim about recipes, two things are simulated. Each replicate trains on a random part of the
corpus's clusters; these parts overlap. The interval holds what the recipes do on this corpus. It
holds less often what they do on average over other corpora: of the variance due to which clusters
a corpus has, the parts show (1 - share) / share, and the interval divides it by their number.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nucleus_model.settings.verdict import VerdictSettings
from nucleus_model.training.verdict.drawn import stored
from nucleus_model.training.verdict.findings import NAMES
from nucleus_model.training.verdict.intervals import (
    Interval,
    bonferroni,
    crossed,
    paired,
    unpaired,
)
from nucleus_model.training.verdict.replicates import (
    after_pilot,
    after_pilots,
    pilot_deviation,
    stein,
)
from scripts.benchmark import Measure, parser, publish
from scripts.verdict.lines import Lines

Numbers = NDArray[np.float64]
Shape = Callable[[np.random.Generator, tuple[int, ...]], Numbers]
COMPARED = Path(__file__).parent / "verdict/measured/lines.jsonl"
# Standard deviations in the unit of the held-out loss, of a picture's difference and of its
# residual under a seed. Both are assumed.
PICTURE, REST = 0.02, 0.01
SEEDS, PICTURES, MEASURES = 6, 160, len(NAMES)
CLUSTERS = 500  # of a corpus whose recipes are compared
TRUTH = 0.0104
GOAL = 94.5


@dataclass(frozen=True)
class Size:
    """Number of simulated comparisons per row, and of resamples of the negative control."""

    draws: int = 20_000
    resamples: int = 400


QUICK = Size(draws=400, resamples=100)


@dataclass(frozen=True)
class Fitted:
    """What the self-test's comparisons say of the spread over seeds and sets.

    Attributes:
        pair: Deviation of a seed pair's difference in loss; equal pictures, `nano`.
        seed: Deviation of one seed's loss; `debug`, whose halves share no picture.
        drawn: Variance that the choice of a set's pictures adds, in units of `seed` squared.
        correlation: (M, M) correlation of the measures' differences over seed pairs, `nano`.
    """

    pair: float
    seed: float
    drawn: float
    correlation: Numbers


def fit(file: Path = COMPARED) -> Fitted:
    """Fits the model to comparisons; the median of the deviations, as they differ widely."""
    pairs, standardized, single = [], [], []
    for line in Lines(file):
        a, b = (np.array([line["values"][arm][name] for name in NAMES], np.float64) for arm in "ab")
        if line["part"] == "aa":
            single += [of[0].var(ddof=1) for of in (a, b)]
        elif line["preset"] == "nano" and line["pairs"]:
            rest = b - a - (b - a).mean(axis=1, keepdims=True)
            deviations = (b - a).std(axis=1, ddof=1)
            pairs.append(deviations[0])
            standardized.append(rest / deviations[:, None])
    return Fitted(
        float(np.median(pairs)),
        float(np.sqrt(np.mean(single))),
        stored("debug")[0].share,
        np.corrcoef(np.concatenate(standardized, axis=1)),
    )


FIT = fit()
SEED = FIT.pair


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


def sets(rng: np.random.Generator, shape: Shape, runs: int) -> tuple[Numbers, Numbers]:
    """Draws the runs of two sets without a common picture; which pictures they have is chance."""
    chosen = shape(rng, (2, 1)) * np.sqrt(FIT.drawn)
    a, b = (chosen + shape(rng, (2, runs))) * FIT.seed
    return a, TRUTH + b


def differing(
    rng: np.random.Generator, shape: Shape, draws: int, drawn: float = FIT.drawn
) -> Iterator[Interval]:
    """Yields intervals of two sets with other ids, from six unpaired runs each."""
    for _ in range(draws):
        yield unpaired(*sets(rng, shape, SEEDS), drawn=(drawn, drawn))


def differing_staged(
    rng: np.random.Generator, shape: Shape, draws: int, most: int
) -> Iterator[Interval]:
    """Yields intervals of two sets with other ids, by Stein's two stages."""
    for _ in range(draws):
        a, b = sets(rng, shape, most)
        pilot = pilot_deviation(a[:SEEDS], b[:SEEDS], pairs=False)
        count = stein(pilot, SEEDS, FIT.seed * np.sqrt(2) * 0.6, most)
        yield after_pilots(a[:count], b[:count], SEEDS, drawn=(FIT.drawn, FIT.drawn))


def recipes(
    rng: np.random.Generator, shape: Shape, draws: int, ratio: float
) -> Iterator[tuple[Interval, float]]:
    """Yields intervals of two recipes of a corpus, and their true difference on this corpus.

    Args:
        rng: Source of the draws.
        shape: Distribution of the effects of seeds, and of clusters.
        draws: Number of comparisons, each on a corpus of its own.
        ratio: Deviation, over corpora, of the recipes' difference, in units of that of a seed pair.
    """
    share = VerdictSettings().share
    for _ in range(draws):
        effects = shape(rng, (CLUSTERS,)) * ratio * np.sqrt(CLUSTERS)
        taken = rng.random((SEEDS, CLUSTERS)) < share
        found = arms(rng, shape, 1.0, SEEDS) + taken @ effects / taken.sum(axis=1)
        yield paired(found), float(effects.mean())


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


def measures(rng: np.random.Generator, shape: Shape) -> Numbers:
    """Draws the differences of two equal arms in the six measures, (R, M), correlated as fitted."""
    mixed = np.linalg.cholesky(FIT.correlation)
    a, b = shape(rng, (2, SEEDS, MEASURES)) @ mixed.T
    difference: Numbers = b - a
    return difference


def false_alarms(rng: np.random.Generator, shape: Shape, draws: int) -> float:
    """Returns the percentage of equal arms where Holm rejects any of six correlated measures."""
    alarms = 0
    for _ in range(draws):
        p = [paired(column).p for column in measures(rng, shape).T]
        alarms += min(p) * MEASURES < 0.05  # equivalent to Holm rejecting any
    return 100 * alarms / draws


def together(rng: np.random.Generator, shape: Shape, draws: int) -> float:
    """Returns the percentage of comparisons whose six Bonferroni intervals all hold the truth."""
    level, held = bonferroni(0.95, MEASURES), 0
    for _ in range(draws):
        intervals = [paired(column, level) for column in measures(rng, shape).T]
        held += all(interval.low <= 0 <= interval.high for interval in intervals)
    return 100 * held / draws


def bench(size: Size) -> list[Measure]:
    """Simulates everything, and returns the rows of the table."""
    rows = []

    def row(name: str, value: float, goal: str | None) -> None:
        print(f"{name}: {value:.2f} %", file=sys.stderr, flush=True)
        rows.append(Measure(name, float(f"{value:.4g}"), "%", goal, size.draws))

    # At a smaller size, chance alone must not miss a goal.
    slack = 0.0 if size == Size() else 300 * np.sqrt(0.05 * 0.95 / size.draws)
    enough, few, fails = f">= {GOAL - slack:.3g}", f"<= {5.5 + slack:.2g}", "<= 60"
    # As large as measured for sets without a common picture; half of a seed pair's; the same.
    ratios = (float(np.sqrt(FIT.drawn)), 0.5, 1.0)
    for word, shape in SHAPES.items():
        # A generator per row of the table, so that rows do not depend on each other.
        def rng(number: int, word: str = word) -> np.random.Generator:
            return np.random.default_rng([number, *word.encode()])

        draws = size.draws
        row(f"6 seed pairs, {word}", coverage(fixed(rng(0), shape, draws)), enough)
        for most in (30, 8):
            held = coverage(staged(rng(most), shape, draws, most))
            row(f"Stein, at most {most}, {word}", held, enough)
        held = coverage(differing(rng(1), shape, draws))
        row(f"other ids, 6 and 6, {word}", held, enough)
        for most in (30, 8):
            held = coverage(differing_staged(rng(100 + most), shape, draws, most))
            row(f"other ids, Stein, at most {most}, {word}", held, enough)
        held = coverage(differing(rng(1), shape, draws, drawn=0.0))
        row(f"other ids by seeds alone, {word}", held, None)
        new = (crossed(table) for table in tables(rng(2), shape, draws))
        row(f"new pictures, crossed, {word}", coverage(new), enough)
        row(f"all of 6 measures, {word}", together(rng(3), shape, draws), enough)
        alarms = false_alarms(rng(4), shape, draws)
        row(f"false alarms of 6 measures, Holm, {word}", alarms, few)
        for ratio in ratios:
            of = list(recipes(rng(6), shape, draws, ratio))
            own = 100 * float(np.mean([i.low <= truth <= i.high for i, truth in of]))
            row(f"recipes, this corpus, data {ratio:.2g} of seeds, {word}", own, enough)
            others = coverage((interval for interval, _ in of), truth=0.0)
            row(f"recipes, other corpora, data {ratio:.2g} of seeds, {word}", others, None)
        control = coverage(over_pictures(rng(5), shape, draws, size.resamples))
        row(f"pictures alone (must fail), {word}", control, fails)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns the exit code."""
    options = parser(__doc__).parse_args(arguments)
    rows = bench(QUICK if options.quick else Size())
    publish(rows, options.json)
    return 1 if any(measure.met is False for measure in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
