"""How the runs of two arms went: loss and gradients at equal counts of tokens, and their routers.

All of it is of each arm's own pictures, and described: it says whether the runs went alike, not
which set is better.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nucleus_model.training.verdict.descriptive import Row, row

POINTS = (0.25, 0.5, 0.75, 1.0)  # of the steps
WINDOW = 0.1  # of the steps, up to the point, that a value is a mean of
# What routers say of a block (`network.moe`), and which block of several is the worst.
ROUTER: Mapping[str, tuple[str, Any]] = {
    "uncovered": ("share of tokens without an expert", max),
    "single": ("share of tokens with one expert", max),
    "max_load": ("experts of the fullest token", max),
}


def read_steps(folder: Path) -> tuple[list[dict[str, float]], dict[str, dict[str, float]]]:
    """What a run wrote of its steps.

    Args:
        folder: The run's.

    Returns:
        A line a step, what is not finite as NaN; and what the routers did last, by block; nothing
        where nobody asked them.
    """
    steps: list[dict[str, float]] = []
    router: dict[str, dict[str, float]] = {}
    for text in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if "loss" in line:
            wanted = ("loss", "grad_norm", "samples")
            steps.append({k: math.nan if line[k] is None else line[k] for k in wanted})
        router = line.get("router", router)
    return steps, router


def at_tokens(
    values: Mapping[str, Sequence[Sequence[float]]],
    tokens_a_step: int,
    pictures_a_step: int,
    *,
    pairs: bool,
) -> list[Row]:
    """A quantity of the steps at fixed counts of image tokens.

    Args:
        values: Arm -> replicate -> a value a step.
        tokens_a_step: Image tokens of a step.
        pictures_a_step: Pictures of a step.
        pairs: Whether replicates belong together.

    Returns:
        A quarter, half, three quarters and all of the steps: means over the last tenth of the steps
        up to there.
    """
    steps = min(len(run) for runs in values.values() for run in runs)
    width = max(1, round(WINDOW * steps))
    rows = []
    for end in dict.fromkeys(max(1, round(point * steps)) for point in POINTS):
        start = max(0, end - width)
        a, b = (
            np.array([np.mean(run[start:end]) for run in values[arm]], np.float64)
            for arm in ("a", "b")
        )
        name = f"{end * tokens_a_step:,} image tokens"
        rows.append(row(name, (end - start) * pictures_a_step, a, b, pairs=pairs))
    return rows


def routers(
    found: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]], pictures: int, *, pairs: bool
) -> list[Row]:
    """What the routers of both arms did at the end.

    Args:
        found: Arm -> replicate -> block -> what `network.moe` says of it.
        pictures: Of the batch that was asked about.
        pairs: Whether replicates belong together.

    Returns:
        A mean over blocks and the worst block, of each figure; nothing where no block has a router.
    """
    runs = [run for of in found.values() for run in of]
    if not runs or not all(runs):
        return []
    several = max(map(len, runs)) > 1
    rows = []
    for key, (name, worst) in ROUTER.items():
        for title, over in ((", mean of blocks", np.mean), (", worst block", worst)):
            a, b = (
                np.array([float(over([of[key] for of in run.values()])) for run in found[arm]])
                for arm in ("a", "b")
            )
            rows.append(row(name + title if several else name, pictures, a, b, pairs=pairs))
            if not several:
                break
    return rows
