"""What a comparison can see, before its first run, and after its pilot.

`power.json` holds how much a seed makes of each preset, with equal pictures in both arms and with
other ones. It is written by

    python scripts/bench_verdict_power.py --out power --write

but for nano's figures, which are older: three seed pairs and four seeds of each set, of 1,500
pictures, until that command has done its nano runs. A comparison's own pilot says more of its sets;
then these figures count no more.
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
SEEDS = (3, 6, 12, 24)  # of each arm, that people are told of


@dataclass(frozen=True)
class Spread:
    """How much a seed makes of the difference of two arms' loss.

    Attributes:
        percent: Deviation of one replicate's difference, in percent of A's loss.
        replicates: Of each arm, that it was measured on.
        probe: Whether it is of an older probe, and not by the command that `power.json` names.
    """

    percent: float
    replicates: int
    probe: bool = False


@cache
def stored(preset: str, *, pairs: bool) -> Spread | None:
    """What `power.json` has of a preset; None where nobody measured it.

    Args:
        preset: Its name, as `VerdictSettings.trains` has it.
        pairs: Whether most pictures are in both arms.
    """
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    found = json.loads(text)["presets"].get(preset, {}).get(EQUAL if pairs else OTHER)
    return None if found is None else Spread(**found)


def sees(percent: float, replicates: int, *, pairs: bool) -> float:
    """The smallest difference of the loss that so many replicates see in four of five, in percent.

    Args:
        percent: Deviation of one replicate's difference.
        replicates: Of each arm.
        pairs: Whether they belong together; both arms count on their own else.
    """
    degrees = (replicates - 1) * (1 if pairs else 2)
    return detectable(percent / replicates**0.5, degrees, JOINT)


def power(preset: str, *, pairs: bool, replicates: int, percent: float | None) -> dict[str, Any]:
    """What a comparison can see, as its JSON has it.

    Args:
        preset: Its preset.
        pairs: Whether its replicates are pairs.
        replicates: Of each arm.
        percent: Deviation of one replicate's difference in its own runs; None before them.

    Returns:
        `before`: what the stored figures say; `by_seeds`: what so many seeds would see by its own
        runs, or by the stored figures before them.
    """
    known = stored(preset, pairs=pairs)
    before = None
    if known is not None:
        before = asdict(known) | {"sees": sees(known.percent, replicates, pairs=pairs)}
    own = percent if percent is not None or known is None else known.percent
    counts: Sequence[int] = sorted({*SEEDS, replicates})
    return {
        "measure": "loss",
        "pictures": EQUAL if pairs else OTHER,
        "before": before,
        "percent": percent,
        "by_seeds": []
        if own is None
        else [{"seeds": n, "sees": sees(own, n, pairs=pairs)} for n in counts],
    }


def said(preset: str, *, pairs: bool, replicates: int) -> str:
    """What a comparison will see, in a line, before its first run."""
    known = stored(preset, pairs=pairs)
    if known is None:
        return (
            f"{replicates} seeds; what they can see is not known of {preset} and {_of(pairs=pairs)}"
        )
    least = sees(known.percent, replicates, pairs=pairs)
    once = "by an older probe" if known.probe else "measured once"
    return (
        f"{replicates} seeds of {preset} see differences of {least:.2g} % of the loss, with "
        f"{_of(pairs=pairs)} ({once}, on {known.replicates} seeds)"
    )


def _of(*, pairs: bool) -> str:
    return EQUAL if pairs else OTHER
