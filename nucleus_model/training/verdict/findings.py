"""The six confirmatory measures, and what a comparison finds of each."""

from dataclasses import dataclass
from typing import Literal

from nucleus_model.training.verdict.intervals import Interval, bonferroni

LEVEL = 0.95


@dataclass(frozen=True)
class Confirmatory:
    """A measure that decides.

    Attributes:
        name: Its name in tables and files.
        about: What it tells of: `pictures`, `captions`, `duplicates`, or `all`.
        better: Whether larger values are better (+1) or smaller ones (-1).
        help: What it is, in a sentence.
        margin: Arms whose interval lies within this share of A are equal: half of what 5 % of
            swapped captions do, of the loss as of the gap. Of duplicates a share of the loss.
    """

    name: str
    about: Literal["all", "pictures", "captions", "duplicates"]
    better: Literal[-1, 1]
    help: str
    margin: float


MEASURES: tuple[Confirmatory, ...] = (
    Confirmatory(
        "loss", "all", -1, "loss on the reference pictures, with their true captions", 0.005
    ),
    Confirmatory(
        "low_sigma", "pictures", -1, "the same where little noise is left (sigma < 1/3)", 0.01
    ),
    Confirmatory(
        "high_sigma", "captions", -1, "the same where nearly all is noise (sigma > 2/3)", 0.02
    ),
    Confirmatory(
        "caption_gap", "captions", 1, "loss with other pictures' captions, minus true", 0.2
    ),
    Confirmatory("empty_gap", "captions", 1, "loss without captions, minus with true ones", 0.2),
    Confirmatory(
        "memorised",
        "duplicates",
        1,
        "loss on pictures trained on, minus on unseen ones of the same kinds",
        0.01,
    ),
)
NAMES = tuple(measure.name for measure in MEASURES)
# Of each interval, so that all six hold together.
JOINT = bonferroni(LEVEL, len(MEASURES))


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
        ratio: B over A, where A is told from 0; None elsewhere.
        direction: +1 if B is better, -1 if it is worse, 0 if that can't be told.
        equal: Whether the interval lies within the margin of the measure.
        within: That margin, in the measure's unit.
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
    equal: bool
    within: float
