"""Power: the smallest difference that a comparison can detect, before and after its runs.

`power.json` holds, for each preset, the standard deviation between seeds, with the same pictures in
both arms and with different ones. It is written by

    python scripts/bench_verdict_power.py --out power --write

from runs of its own for `debug`, and from the comparisons of the self-test for `nano`. As soon as a
comparison has runs of its own, these replace the stored figures.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from nucleus_model.training.verdict.findings import JOINT
from nucleus_model.training.verdict.replicates import detectable

FILE = "power.json"
EQUAL, OTHER = "equal pictures", "other pictures"
SEEDS = (3, 6, 12, 24)  # numbers of seeds per arm to report the power for


@dataclass(frozen=True)
class Spread:
    """The spread between seeds of the difference of two arms' loss.

    Attributes:
        percent: Standard deviation of one replicate's difference, in percent of A's loss; the
            median of several comparisons if there are any.
        replicates: Number of replicates per arm that it was measured on, in each comparison.
        comparisons: Number of comparisons.
    """

    percent: float
    replicates: int
    comparisons: int = 1

    @property
    def origin(self) -> str:
        """How it was measured, in words."""
        seeds = f"{self.replicates} seeds"
        if self.comparisons == 1:
            return f"measured once, on {seeds}"
        return f"the median of {self.comparisons} comparisons with {seeds}"


@cache
def stored(preset: str, *, equal: bool) -> Spread | None:
    """Returns the stored spread of a preset; None if it was not measured.

    Args:
        preset: The preset's name, as in `VerdictSettings.trains`.
        equal: Whether both arms have the same pictures. If only some are others, even paired seeds
            differ nearly as much as if all were.
    """
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    spread = json.loads(text)["presets"].get(preset, {}).get(_of(equal=equal))
    return None if spread is None else Spread(**spread)


def sees(percent: float, replicates: int, *, pairs: bool) -> float:
    """Computes the difference of the loss, in percent, that is detected with a power of 80 %.

    Args:
        percent: Standard deviation of one replicate's difference, in percent.
        replicates: Number of replicates per arm.
        pairs: Whether replicates are paired.
    """
    degrees = (replicates - 1) * (1 if pairs else 2)
    return detectable(percent / replicates**0.5, degrees, JOINT)


def power(
    preset: str, *, equal: bool, pairs: bool, replicates: int, percent: float | None
) -> dict[str, Any]:
    """Describes the power of a comparison, for `verdict.json`.

    Args:
        preset: The comparison's preset.
        equal: Whether both arms have the same pictures.
        pairs: Whether its replicates are paired.
        replicates: Number of replicates per arm.
        percent: Standard deviation of one replicate's difference in its own runs, in percent; None
            before there are any.

    Returns:
        `before`: by the stored figures; `by_seeds`: the detectable difference for several numbers
        of seeds, by its own runs if there are any, else by the stored figures.
    """
    known = stored(preset, equal=equal)
    before = None
    if known is not None:
        least = sees(known.percent, replicates, pairs=pairs)
        before = asdict(known) | {"origin": known.origin, "sees": least}
    own = percent if percent is not None or known is None else known.percent
    counts: Sequence[int] = sorted({*SEEDS, replicates})
    return {
        "measure": "loss",
        "pictures": _of(equal=equal),
        "before": before,
        "percent": percent,
        "by_seeds": []
        if own is None
        else [{"seeds": n, "sees": sees(own, n, pairs=pairs)} for n in counts],
    }


def said(preset: str, *, equal: bool, pairs: bool, replicates: int) -> str:
    """Returns a line for people, before the first run: which difference can be detected."""
    known = stored(preset, equal=equal)
    if known is None:
        return (
            f"{replicates} seeds; what they can detect with {preset} and {_of(equal=equal)} "
            "is not known"
        )
    least = sees(known.percent, replicates, pairs=pairs)
    return (
        f"{replicates} seeds of {preset} can detect differences of {least:.2g} % of the loss, with "
        f"{_of(equal=equal)} ({known.origin})"
    )


def _of(*, equal: bool) -> str:
    return EQUAL if equal else OTHER
