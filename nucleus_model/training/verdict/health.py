"""Compares the training of two arms: loss and gradients at equal token counts, and the routers.

All of this is about each arm's own training pictures, and descriptive: it shows whether training
went alike, not which set is better.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nucleus_model.training.verdict.descriptive import Row, row

POINTS = (0.25, 0.5, 0.75, 1.0)  # shares of the steps
WINDOW = 0.1  # share of the steps, up to such a point, to average over
# Statistics of a block's router (`network.moe`), and which of several blocks' values is the worst.
ROUTER: Mapping[str, tuple[str, Any]] = {
    "uncovered": ("share of tokens without an expert", max),
    "single": ("share of tokens with one expert", max),
    "max_load": ("experts of the fullest token", max),
}


def read_steps(
    folder: Path, tokens: int
) -> tuple[list[dict[str, float]], dict[str, dict[str, float]]]:
    """Reads a run's metrics.

    Args:
        folder: The run's folder.
        tokens: Image tokens of a square picture, for runs of versions that did not count them.

    Returns:
        One dict per step, with non-finite values as NaN; and the last router statistics, by block
        (empty if there are none).
    """
    steps: list[dict[str, float]] = []
    router: dict[str, dict[str, float]] = {}
    for text in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if "loss" in line:
            line.setdefault("image_tokens", tokens * line["samples"])
            wanted = ("loss", "grad_norm", "samples", "image_tokens")
            steps.append({k: math.nan if line[k] is None else line[k] for k in wanted})
        router = line.get("router", router)
    return steps, router


def at_tokens(
    values: Mapping[str, Sequence[Sequence[float]]],
    tokens: Sequence[int],
    pictures_a_step: int,
    *,
    pairs: bool,
) -> list[Row]:
    """Compares a training quantity at fixed steps, named by their number of image tokens.

    Args:
        values: Arm -> replicate -> one value per step.
        tokens: Image tokens seen up to each step, by an average run.
        pictures_a_step: Pictures per step.
        pairs: Whether replicates are paired.

    Returns:
        Rows for a quarter, half, three quarters and all of the steps, each averaged over the
        preceding tenth of the steps.
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
        name = f"{tokens[end - 1]:,} image tokens"
        rows.append(row(name, (end - start) * pictures_a_step, a, b, pairs=pairs))
    return rows


def routers(
    found: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]], pictures: int, *, pairs: bool
) -> list[Row]:
    """Compares the router statistics of both arms at the end of training.

    Args:
        found: Arm -> replicate -> block -> statistics from `network.moe`.
        pictures: Number of pictures of the batch that they are about.
        pairs: Whether replicates are paired.

    Returns:
        For each statistic, rows for the mean over blocks and for the worst block; nothing if no
        block has a router.
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
