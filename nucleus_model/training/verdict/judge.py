"""From replicates to a sentence: the six confirmatory measures, tested together, and what they say.

    verdict = judge(values_a, values_b, Claim.SETS)
    verdict.sentence   # "B is better: captions carry 31 % more (27 to 35), pictures equal; 6 seeds,
                       # 2.1 M image tokens"

The six are fixed in `findings`, before any data: each is tested by t over replicates, the p values
are adjusted by Holm, and the intervals are Bonferroni's, so that all of them hold together. What
else is measured is descriptive, and stands elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nucleus_model.training.verdict.findings import (
    JOINT,
    LEVEL,
    MEASURES,
    NAMES,
    Confirmatory,
    Finding,
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

Word = Literal["better", "worse", "mixed", "no difference"]


class Claim(StrEnum):
    """What a comparison is about."""

    SETS = "these two sets, on these held-out pictures"
    RECIPES = "these recipes"


@dataclass(frozen=True)
class Verdict:
    """What a comparison says.

    Attributes:
        word: Whether B is better.
        sentence: For people, in a line.
        claim: What it holds for.
        replicates: Of each arm.
        findings: In the order of `MEASURES`.
    """

    word: Word
    sentence: str
    claim: Claim
    replicates: tuple[int, int]
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """What the JSON holds; no wall time, infinite ends as null."""
        found: dict[str, Any] = jsonable(asdict(self))
        return found


def judge(
    a: Mapping[str, ArrayLike],
    b: Mapping[str, ArrayLike],
    claim: Claim = Claim.SETS,
    *,
    pairs: bool = True,
    pilot: int | None = None,
    image_tokens: int | None = None,
    chosen: Mapping[str, tuple[float, float]] | None = None,
    drawn: tuple[float, float] = (0.0, 0.0),
) -> Verdict:
    """Compares two arms.

    Args:
        a: For each measure of `MEASURES` (R,) values, one a replicate.
        b: The same of the other arm; (S,) where replicates are no pairs.
        claim: What the replicates allow to claim.
        pairs: Whether replicates at the same place belong together (seed and ids alike).
        pilot: How many of each arm's first replicates Stein's rule has looked at; None where their
            number was fixed. The pilot's deviation is that of every interval then.
        image_tokens: That all runs together have trained on, for the sentence.
        chosen: Measure -> the variance, with its degrees of freedom, that the choice of pictures
            adds to B minus A: of a measure that is read on two lots of pictures.
        drawn: What the choice of each set's own pictures adds to the variance of its means, in
            variances of one replicate (`drawn.weights`); of no account for pairs.

    Returns:
        The verdict.

    Raises:
        ValueError: A measure is missing, or the replicates are not as said.
    """
    one, other = _values(a, "a"), _values(b, "b")
    sizes = len(one[0]), len(other[0])
    if pairs and sizes[0] != sizes[1]:
        raise ValueError(f"pairs need as many replicates of both arms, got {sizes[0]}, {sizes[1]}")
    intervals = [
        difference(x, y, JOINT, pairs=pairs, pilot=pilot, drawn=drawn)
        for x, y in zip(one, other, strict=True)
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
        table = np.stack([y - x for x, y in zip(one, other, strict=True)], axis=1)
        flips = joint_sign_flips(table)
    loss = abs(float(one[0].mean()))
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
            one, other, MEASURES, intervals, adjusted, flips, strict=True
        )
    )
    word = _word(findings)
    text = sentence(word, findings, sizes, pairs=pairs, image_tokens=image_tokens)
    return Verdict(word, text, claim, sizes, findings)


def difference(
    a: Numbers,
    b: Numbers,
    level: float,
    *,
    pairs: bool,
    pilot: int | None = None,
    drawn: tuple[float, float] = (0.0, 0.0),
) -> Interval:
    """The interval of mean(b) - mean(a) over replicates, as the comparison's design asks for.

    Args:
        a: (R,) of set A.
        b: (S,) of set B.
        level: Its confidence.
        pairs: Whether replicates at the same place belong together.
        pilot: As `judge` has it.
        drawn: As `judge` has it.
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
    # What is memorised is near 0 in most sets, so that a share of it would be no margin.
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
        equal=not sure and -margin < interval.low and interval.high < margin,
        within=margin,
    )


def _word(findings: Sequence[Finding]) -> Word:
    signs = {finding.direction for finding in findings} - {0}
    if not signs:
        return "no difference"
    if len(signs) == 2:
        return "mixed"
    return "better" if signs == {1} else "worse"


def _values(arm: Mapping[str, ArrayLike], name: str) -> list[Numbers]:
    """The arm's replicates, in the order of the measures."""
    missing = [measure for measure in NAMES if measure not in arm]
    if missing:
        raise ValueError(f"{name} lacks the measures {', '.join(missing)}; all six decide together")
    found = [np.asarray(arm[measure], dtype=np.float64) for measure in NAMES]
    if len({each.shape for each in found}) != 1 or found[0].ndim != 1:
        raise ValueError(f"{name}: one value a replicate is needed of each measure")
    return found


def jsonable(value: Any) -> Any:
    """Numbers that JSON has: what is infinite or none is null."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
