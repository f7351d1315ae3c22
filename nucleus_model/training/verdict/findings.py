"""The six confirmatory measures, and the result of a comparison for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nucleus_model.training.verdict.intervals import Interval, bonferroni

LEVEL = 0.95
Word = Literal["better", "worse", "mixed", "no difference"]


@dataclass(frozen=True)
class Confirmatory:
    """A measure that decides.

    Attributes:
        name: Its name in tables and files.
        about: What it reflects: `pictures`, `captions`, `duplicates`, or `all`.
        better: Whether larger values are better (+1) or smaller ones (-1).
        help: Description, in a sentence.
        decides: Whether it makes B better or worse. The loss at much noise does not: pictures with
            less detail (blurred ones, copies of few) lower it a little.
        margin: Equivalence margin, as a share of A's value (for duplicates, of the loss): half of
            the effect of 5 % of swapped captions. Arms whose interval lies within it are equal.
    """

    name: str
    about: Literal["all", "pictures", "captions", "duplicates"]
    better: Literal[-1, 1]
    help: str
    margin: float
    decides: bool = True


MEASURES: tuple[Confirmatory, ...] = (
    Confirmatory(
        "loss", "all", -1, "loss on the reference pictures, with their true captions", 0.005
    ),
    Confirmatory(
        "low_sigma", "pictures", -1, "the same where little noise is left (sigma < 1/3)", 0.01
    ),
    Confirmatory(
        "high_sigma", "all", -1, "the same where nearly all is noise (sigma > 2/3)", 0.02, False
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
# Where captions tell, nearly all is noise: the gaps are shares of this loss.
SCALE = "high_sigma"
# Level of each interval such that all six hold simultaneously at `LEVEL`.
JOINT = bonferroni(LEVEL, len(MEASURES))


@dataclass(frozen=True)
class Finding:
    """The result of one measure in a comparison.

    Attributes:
        measure: The measure.
        a, b: Means over replicates.
        interval: Interval of B minus A; all six hold simultaneously at `LEVEL`.
        p: p value, Holm-adjusted.
        p_flips: p value by joint sign flips; None if replicates are not paired.
        detectable: Smallest difference that this comparison detects with a power of 80 %.
        ratio: B over A, if A differs significantly from 0; else None.
        direction: +1 if B's value is better, -1 if it is worse, 0 if neither is significant.
        counts: Whether the direction makes B better or worse (`counted`).
        equal: Whether the interval lies within the equivalence margin.
        within: The margin, in the measure's unit.
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
    counts: bool
    equal: bool
    within: float


def counted(directions: Mapping[str, int], ratios: Mapping[str, Interval | None]) -> dict[str, int]:
    """Returns the directions of the measures that make B better or worse, by name.

    A caption gap is a difference of losses, and grows with them: of blocky or noisy pictures both
    rise. So where the loss at much noise differs, a gap that changed the same way counts only if it
    changed by more: if its ratio's interval lies beyond the ratio of that loss.

    Args:
        directions: `Finding.direction` of each measure.
        ratios: `Finding.ratio` of each measure.
    """
    kept = {measure.name: directions[measure.name] for measure in MEASURES if measure.decides}
    scale = ratios[SCALE]
    if not directions[SCALE] or scale is None:
        return kept
    for measure in MEASURES:
        times = ratios[measure.name]
        if measure.about == "captions" and times is not None and kept[measure.name]:
            rises = times.mean > 1 and scale.mean > 1
            falls = times.mean < 1 and scale.mean < 1
            if (rises and times.low <= scale.mean) or (falls and times.high >= scale.mean):
                kept[measure.name] = 0
    return kept


def word(directions: Mapping[str, int]) -> Word:
    """Returns what B is.

    Args:
        directions: Those of the measures that count, by name (`counted`).
    """
    signs = set(directions.values()) - {0}
    if not signs:
        return "no difference"
    if len(signs) == 2:
        return "mixed"
    return "better" if signs == {1} else "worse"
