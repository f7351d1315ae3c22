"""Tests the six confirmatory measures of a comparison, and words the verdict.

    verdict = judge(values_a, values_b, Claim.SETS)
    verdict.sentence   # "B is better: captions carry 31 % more (27 to 35), pictures equal; 6 seeds,
                       # 2.1 M image tokens"

The measures are fixed in `findings`, before any data. Each is tested by a t test over replicates;
the p values are Holm-adjusted, and the intervals Bonferroni-corrected, so that they hold
simultaneously. All other quantities are descriptive, and in other modules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nucleus_model.training.verdict.findings import (
    JOINT,
    LEVEL,
    MEASURES,
    NAMES,
    Confirmatory,
    Finding,
    Word,
    counted,
    word,
)
from nucleus_model.training.verdict.intervals import (
    Interval,
    Numbers,
    holm,
    joint_sign_flips,
    paired,
    unpaired,
    widened,
)
from nucleus_model.training.verdict.ratios import ratio
from nucleus_model.training.verdict.replicates import after_pilot, after_pilots, detectable
from nucleus_model.training.verdict.sentence import sentence


class Claim(StrEnum):
    """What a comparison is about."""

    SETS = "these two sets, on these held-out pictures"
    RECIPES = (
        "these recipes, on random parts of this corpus (not on other corpora), on these held-out "
        "pictures"
    )


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison.

    Attributes:
        word: Whether B is better.
        sentence: The outcome in one line, for people.
        claim: What the outcome is about.
        replicates: Number of replicates of each arm.
        findings: The results, in the order of `MEASURES`.
    """

    word: Word
    sentence: str
    claim: Claim
    replicates: tuple[int, int]
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns the verdict as JSON-able data, with infinite values as None."""
        content: dict[str, Any] = jsonable(asdict(self))
        return content


def judge(
    a: Mapping[str, ArrayLike],
    b: Mapping[str, ArrayLike],
    claim: Claim = Claim.SETS,
    *,
    pairs: bool = True,
    pilot: int | None = None,
    image_tokens: tuple[int, int] | None = None,
    chosen: Mapping[str, tuple[float, float]] | None = None,
    drawn: tuple[float, float] = (0.0, 0.0),
    facts: Sequence[str] = (),
) -> Verdict:
    """Compares two arms.

    Args:
        a: For each measure of `MEASURES`, (R,) values of arm A, one per replicate.
        b: The same for arm B; (S,) if replicates are not paired.
        claim: What the verdict is about.
        pairs: Whether replicates with the same index are paired (same seed, mostly the same ids).
        pilot: Number of pilot replicates for Stein's rule; None if the number of replicates was
            fixed. With a pilot, every interval uses the pilot's deviation.
        image_tokens: Image tokens of all runs of A, and of B, for the sentence.
        chosen: Measure -> (variance, degrees of freedom) due to the choice of evaluated pictures,
            for measures that compare two groups of pictures.
        drawn: Variances due to the choice of each set's own pictures, in units of one replicate's
            variance (`drawn.weights`); ignored for pairs.
        facts: Clauses about the sets for the sentence, from `facts.stated`.

    Returns:
        The verdict.

    Raises:
        ValueError: A measure is missing, or the numbers of replicates don't match.
    """
    values_a, values_b = _values(a, "a"), _values(b, "b")
    sizes = len(values_a[0]), len(values_b[0])
    if pairs and sizes[0] != sizes[1]:
        raise ValueError(
            "with pairs, both arms must have the same number of replicates, got "
            f"{sizes[0]} and {sizes[1]}"
        )
    intervals = [
        difference(x, y, JOINT, pairs=pairs, pilot=pilot, drawn=drawn)
        for x, y in zip(values_a, values_b, strict=True)
    ]
    intervals = [
        widened(interval, *chosen[measure.name], JOINT)
        if chosen is not None and measure.name in chosen
        else interval
        for measure, interval in zip(MEASURES, intervals, strict=True)
    ]
    adjusted = holm([interval.p for interval in intervals])
    flips: Sequence[float | None] = [None] * len(MEASURES)
    if pairs:
        table = np.stack([y - x for x, y in zip(values_a, values_b, strict=True)], axis=1)
        flips = joint_sign_flips(table)
    loss = abs(float(values_a[0].mean()))
    findings = tuple(
        _finding(
            measure,
            interval,
            p,
            flip,
            times=ratio(x, y, JOINT, pairs=pairs, pilot=pilot, drawn=drawn),
            a=float(x.mean()),
            b=float(y.mean()),
            loss=loss,
        )
        for x, y, measure, interval, p, flip in zip(
            values_a, values_b, MEASURES, intervals, adjusted, flips, strict=True
        )
    )
    kept = counted(
        {finding.measure.name: finding.direction for finding in findings},
        {finding.measure.name: finding.ratio for finding in findings},
    )
    findings = tuple(
        replace(finding, counts=bool(kept.get(finding.measure.name))) for finding in findings
    )
    called = word(kept)
    text = sentence(called, findings, sizes, pairs=pairs, image_tokens=image_tokens, facts=facts)
    return Verdict(called, text, claim, sizes, findings)


def difference(
    a: Numbers,
    b: Numbers,
    level: float,
    *,
    pairs: bool,
    pilot: int | None = None,
    drawn: tuple[float, float] = (0.0, 0.0),
) -> Interval:
    """Computes the interval of mean(b) - mean(a) that fits the comparison's design.

    Args:
        a: (R,) values of set A.
        b: (S,) values of set B.
        level: Confidence level.
        pairs: Whether replicates with the same index are paired.
        pilot: See `judge`.
        drawn: See `judge`.
    """
    if pairs:
        return paired(b - a, level) if pilot is None else after_pilot(b - a, pilot, level)
    if pilot is None:
        return unpaired(a, b, level, drawn)
    return after_pilots(a, b, pilot, level, drawn)


def _finding(
    measure: Confirmatory,
    interval: Interval,
    p: float,
    flips: float | None,
    *,
    times: Interval,
    a: float,
    b: float,
    loss: float,
) -> Finding:
    sure = p < 1 - LEVEL
    # `memorised` is near 0 for most sets, so its margin is a share of the loss instead.
    margin = measure.margin * (loss if measure.about == "duplicates" else abs(a))
    return Finding(
        measure=measure,
        a=a,
        b=b,
        interval=interval,
        p=p,
        p_flips=flips,
        detectable=detectable(interval.error, interval.degrees, JOINT),
        ratio=times if np.isfinite(times.low) and times.mean > 0 else None,
        direction=int(np.sign(interval.mean)) * measure.better if sure else 0,
        counts=False,  # set by `judge`, once all findings are known
        equal=not sure and -margin < interval.low and interval.high < margin,
        within=margin,
    )


def _values(arm: Mapping[str, ArrayLike], name: str) -> list[Numbers]:
    """Returns an arm's values in the order of the measures. Raises ValueError."""
    missing = [measure for measure in NAMES if measure not in arm]
    if missing:
        raise ValueError(f"{name} lacks the measures {', '.join(missing)}; all six are needed")
    values = [np.asarray(arm[measure], dtype=np.float64) for measure in NAMES]
    if len({of_measure.shape for of_measure in values}) != 1 or values[0].ndim != 1:
        raise ValueError(f"{name} must have one value per replicate for each measure")
    return values


def jsonable(value: Any) -> Any:
    """Replaces infinities and NaN, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
