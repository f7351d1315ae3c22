"""From replicates to a sentence: the six confirmatory measures, tested together, and what they say.

    verdict = judge(values_a, values_b, Claim.SETS)
    verdict.sentence   # "B is better: captions carry 31 % more (27 to 35), pictures equal; 6 seeds"

The six are fixed here, before any data: each is tested by t over replicates, the p values are
adjusted by Holm, and the intervals are Bonferroni's, so that all of them hold together. What else
is measured is descriptive, and stands elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nucleus_model.training.verdict.intervals import (
    Interval,
    Numbers,
    bonferroni,
    holm,
    joint_sign_flips,
    paired,
    ratio,
    unpaired,
)
from nucleus_model.training.verdict.replicates import after_pilot, smallest_detectable

LEVEL = 0.95
Word = Literal["better", "worse", "mixed", "no difference"]


class Claim(StrEnum):
    """What a comparison is about."""

    SETS = "these two sets, on these held-out pictures"
    RECIPES = "these recipes"


@dataclass(frozen=True)
class Confirmatory:
    """A measure that decides.

    Attributes:
        name: Its name in tables and files.
        about: What it tells of: `pictures`, `captions`, `duplicates`, or `all`.
        better: Whether larger values are better (+1) or smaller ones (-1).
        help: What it is, in a sentence.
    """

    name: str
    about: Literal["all", "pictures", "captions", "duplicates"]
    better: Literal[-1, 1]
    help: str


MEASURES: tuple[Confirmatory, ...] = (
    Confirmatory("loss", "all", -1, "loss on the reference pictures, with their true captions"),
    Confirmatory("low_sigma", "pictures", -1, "the same where little noise is left (sigma < 1/3)"),
    Confirmatory("high_sigma", "captions", -1, "the same where all is noise (sigma > 2/3)"),
    Confirmatory("caption_gap", "captions", 1, "loss with other pictures' captions, minus true"),
    Confirmatory("empty_gap", "captions", 1, "loss without captions, minus with true ones"),
    Confirmatory(
        "memorised", "duplicates", 1, "loss on trained pictures, minus on the same pictures unseen"
    ),
)
NAMES = tuple(measure.name for measure in MEASURES)


@dataclass(frozen=True)
class Finding:
    """One measure of a comparison.

    Attributes:
        measure: Which.
        a, b: Means over replicates.
        interval: Of B minus A; all six hold together at `LEVEL`.
        p: Adjusted by Holm.
        p_flips: By flipping signs jointly; None where replicates are no pairs.
        detectable: The smallest difference that this comparison sees in four of five.
        ratio: B over A, where both are paired and A is not near 0; None elsewhere.
        direction: +1 if B is better, -1 if it is worse, 0 if that can't be told.
    """

    measure: Confirmatory
    a: float
    b: float
    interval: Interval
    p: float
    p_flips: float | None
    detectable: float
    ratio: Interval | None
    direction: int


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
) -> Verdict:
    """Compares two arms.

    Args:
        a: For each measure of `MEASURES` (R,) values, one a replicate.
        b: The same of the other arm; (S,) where replicates are no pairs.
        claim: What the replicates allow to claim.
        pairs: Whether replicates at the same place belong together (seed and ids alike).
        pilot: How many of the pairs Stein's rule has looked at; None where their number was fixed.

    Returns:
        The verdict.

    Raises:
        ValueError: A measure is missing, or the replicates are not as said.
    """
    one, other = _values(a, "a"), _values(b, "b")
    sizes = len(one[0]), len(other[0])
    if pairs and sizes[0] != sizes[1]:
        raise ValueError(f"pairs need as many replicates of both arms, got {sizes[0]}, {sizes[1]}")
    level = bonferroni(LEVEL, len(MEASURES))
    intervals = []
    for x, y in zip(one, other, strict=True):
        if not pairs:
            intervals.append(unpaired(x, y, level))
        elif pilot is not None:
            intervals.append(after_pilot(y - x, pilot, level))
        else:
            intervals.append(paired(y - x, level))
    adjusted = holm([interval.p for interval in intervals])
    flips: Sequence[float | None] = [None] * len(MEASURES)
    if pairs:
        table = np.stack([y - x for x, y in zip(one, other, strict=True)], axis=1)
        flips = joint_sign_flips(table)
    findings = tuple(
        _finding(*parts, pairs=pairs)
        for parts in zip(MEASURES, one, other, intervals, adjusted, flips, strict=True)
    )
    word = _word(findings)
    return Verdict(word, _sentence(word, findings, sizes), claim, sizes, findings)


def _finding(
    measure: Confirmatory,
    a: Numbers,
    b: Numbers,
    interval: Interval,
    p: float,
    flips: float | None,
    *,
    pairs: bool,
) -> Finding:
    # Of the mean's standard error, as if of one replicate: `smallest_detectable` divides by its
    # root again. Without pairs the number of the smaller arm stands for both.
    count = round(interval.degrees) + 1 if pairs else min(len(a), len(b))
    deviation = interval.error * np.sqrt(count)
    least = smallest_detectable(float(deviation), max(2, count), bonferroni(LEVEL, len(MEASURES)))
    sure = p < 1 - LEVEL
    times = ratio(a, b, bonferroni(LEVEL, len(MEASURES))) if pairs else None
    if times is not None and not (np.isfinite(times.low) and times.mean > 0):
        times = None
    direction = int(np.sign(interval.mean)) * measure.better if sure else 0
    return Finding(
        measure, float(a.mean()), float(b.mean()), interval, p, flips, least, times, direction
    )


def _word(findings: Sequence[Finding]) -> Word:
    signs = {finding.direction for finding in findings} - {0}
    if not signs:
        return "no difference"
    if len(signs) == 2:
        return "mixed"
    return "better" if signs == {1} else "worse"


def _sentence(word: Word, findings: Sequence[Finding], sizes: tuple[int, int]) -> str:
    """The verdict in a line: what differs by how much, what does not, and on how many seeds."""
    seeds = f"{sizes[0]} seeds" if sizes[0] == sizes[1] else f"{sizes[0]} and {sizes[1]} seeds"
    if word == "no difference":
        loss = findings[0]
        share = 100 * loss.detectable / abs(loss.a) if loss.a else float("nan")
        return (
            f"no difference that this run could have seen; the smallest it could see is "
            f"{share:.2g} % of the loss; {seeds}"
        )
    said = []
    for about in ("captions", "pictures", "duplicates"):
        mine = [finding for finding in findings if finding.measure.about == about]
        told = [finding for finding in mine if finding.direction]
        said.append(_about(about, told))
    if not any(finding.direction for finding in findings[1:]):
        said = [_change(findings[0], "loss on the reference pictures")]
    head = {
        "better": "B is better",
        "worse": "B is worse",
        "mixed": "B is better in one way and worse in another",
    }[word]
    return f"{head}: {', '.join(said)}; {seeds}"


def _about(about: str, told: Sequence[Finding]) -> str:
    """What the measures of one kind say."""
    if not told:
        return {"duplicates": "memorising equal"}.get(about, f"{about} equal")
    by_name = {finding.measure.name: finding for finding in told}
    gap = by_name.get("caption_gap")
    if gap is not None and gap.ratio is not None:
        times = gap.ratio
        more = 100 * (times.mean - 1)
        ends = sorted(abs(100 * (end - 1)) for end in (times.low, times.high))
        word = "more" if more > 0 else "less"
        return f"captions carry {abs(more):.0f} % {word} ({ends[0]:.0f} to {ends[1]:.0f})"
    first = min(told, key=lambda finding: finding.p)
    word = "better" if first.direction > 0 else "worse"
    if about == "duplicates":
        return "it is memorised less" if first.direction > 0 else "it is memorised more"
    return f"{about} {word} ({_change(first, first.measure.name)})"


def _change(finding: Finding, name: str) -> str:
    found = finding.interval
    return f"{name} {found.mean:+.3g}, {found.low:+.3g} to {found.high:+.3g}"


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
