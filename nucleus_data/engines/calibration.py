"""Calibration: from a raw cosine of picture and caption to a probability that they belong together.

A cosine means something else with each model; a threshold such as 0.65 needs a probability. The map
is isotonic regression on pairs known to match or not, joined by lines between the centres of its
blocks and to (-1, 0) and (1, 1), so it rises strictly: the order of scores, and with it their AUC,
stays. What it says depends on the share of matched pairs that it assumes (`prior`), balanced unless
told otherwise; a collection with fewer wrong captions has higher probabilities at the same cosine.

The file is JSON: `version`, `model`, `revision`, the knots `scores` and `values`, and `fitted`: how
it was made, which changes no score.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nucleus_data.engines.clip import Vectors
from nucleus_data.errors import RequestError

VERSION = 1
FEWEST = 20  # pairs of each kind: below that a map says more of them than of the model
DIGITS = 6  # of a knot: finer than any pair tells, and short enough to read
_REQUIRED = ("version", "model", "revision", "scores", "values")
_KEYS = (*_REQUIRED, "fitted")


@dataclass(frozen=True)
class Calibration:
    """A strictly rising, piecewise linear map from raw scores to probabilities.

    Attributes:
        model: Name of the embedding model whose cosines it takes.
        revision: Its revision.
        scores: Raw scores of the knots, rising.
        values: Their probabilities, rising, in [0, 1].
        fitted: How it was made and what it was worth; changes no score.
    """

    model: str
    revision: str
    scores: tuple[float, ...]
    values: tuple[float, ...]
    fitted: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        scores, values = np.asarray(self.scores, float), np.asarray(self.values, float)
        if scores.ndim != 1 or scores.shape != values.shape or len(scores) < 2:
            raise ValueError(
                f"{scores.size} scores and {values.size} values; needed: as many of each, 2 or more"
            )
        if not (np.isfinite(scores).all() and np.isfinite(values).all()):
            raise ValueError("scores and values must be finite numbers")
        if not ((np.diff(scores) > 0).all() and (np.diff(values) > 0).all()):
            raise ValueError("scores and values must rise from each knot to the next")
        if values[0] < 0 or values[-1] > 1:
            raise ValueError(f"values must lie in 0 to 1, got {values[0]:g} to {values[-1]:g}")

    def apply(self, raw: Vectors) -> Vectors:
        """(N,) raw scores to (N,) probabilities, float32; NaN stays NaN."""
        raw = np.asarray(raw, np.float64)
        return np.interp(raw, self.scores, self.values).astype(np.float32)

    def raw(self, value: float) -> float:
        """The raw score that becomes a probability."""
        return float(np.interp(value, self.values, self.scores))

    def content(self) -> dict[str, Any]:
        """What decides scores, as `calibration_of` reads it: for a config hash."""
        return {
            "version": VERSION,
            "model": self.model,
            "revision": self.revision,
            "scores": list(self.scores),
            "values": list(self.values),
        }


def fit_calibration(
    matched: Vectors,
    mismatched: Vectors,
    *,
    model: str,
    revision: str,
    prior: float = 0.5,
    fitted: Mapping[str, Any] | None = None,
) -> Calibration:
    """Fits a map to pairs.

    Args:
        matched: (N,) raw scores of pictures with captions of their own.
        mismatched: (M,) those of pictures with captions of others.
        model: Name of the embedding model.
        revision: Its revision.
        prior: The share of matched pairs that is assumed, above 0 and below 1.
        fitted: How the pairs were made.

    Raises:
        ValueError: There are too few pairs, a score is not finite, or the prior is none.
    """
    from scipy.optimize import isotonic_regression

    kinds = [np.asarray(scores, np.float64) for scores in (matched, mismatched)]
    if min(map(len, kinds)) < FEWEST:
        raise ValueError(
            f"{len(kinds[0])} matched and {len(kinds[1])} mismatched pairs; needed: {FEWEST} or "
            "more of each"
        )
    if not all(np.isfinite(scores).all() for scores in kinds):
        raise ValueError("a raw score is not a finite number")
    if not 0 < prior < 1:
        raise ValueError(f"prior must be above 0 and below 1, got {prior}")
    # Targets a little inside of 0 and 1 (Platt 1999): nobody is certain after N pairs.
    targets = [(len(kinds[0]) + 1) / (len(kinds[0]) + 2), 1 / (len(kinds[1]) + 2)]
    shares = [prior / len(kinds[0]), (1 - prior) / len(kinds[1])]
    scores, place = np.unique(np.concatenate(kinds), return_inverse=True)
    each = [len(kind) for kind in kinds]
    weights = np.bincount(place, np.repeat(shares, each))
    means = np.bincount(place, np.repeat(np.multiply(targets, shares), each)) / weights
    found = isotonic_regression(means, weights=weights)
    starts = found.blocks[:-1]
    mass = np.add.reduceat(weights, starts)
    centres = np.add.reduceat(scores * weights, starts) / mass
    knots = _rising(
        [min(-1.0, scores[0] - 1), *centres, max(1.0, scores[-1] + 1)]
        if scores[0] < -1 or scores[-1] > 1
        else [-1.0, *centres, 1.0],
        [0.0, *found.x[starts], 1.0],
    )
    return Calibration(model, revision, *knots, fitted=dict(fitted or {}))


def calibration_of(content: Mapping[str, Any], place: str = "calibration") -> Calibration:
    """A calibration as its file or a configuration writes it.

    Args:
        content: The keys of the file.
        place: Where it stands, for messages.

    Raises:
        RequestError: It is none.
    """
    unknown = sorted(set(content) - set(_KEYS))
    missing = [key for key in _REQUIRED if key not in content]
    if unknown or missing:
        raise RequestError(
            f"{place}: "
            + "; ".join([*(f"no key {k!r}" for k in missing), *(f"{k!r} is none" for k in unknown)])
            + f"; the keys of a calibration are {', '.join(_KEYS)}"
        )
    if content["version"] != VERSION:
        raise RequestError(
            f"{place}: version {content['version']!r}; this program reads {VERSION}; "
            "run: nucleus calibrate"
        )
    try:
        return Calibration(
            str(content["model"]),
            str(content["revision"]),
            tuple(float(score) for score in content["scores"]),
            tuple(float(value) for value in content["values"]),
            dict(content.get("fitted") or {}),
        )
    except (TypeError, ValueError) as error:
        raise RequestError(f"{place}: {error}") from error


def load_calibration(path: str | Path) -> Calibration:
    """Reads a file of `save_calibration`.

    Raises:
        RequestError: There is none, or it is no calibration.
    """
    path = Path(path).expanduser()
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} is no calibration: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(f"{path} is no calibration: {type(content).__name__}, not an object")
    return calibration_of(content, str(path))


def save_calibration(calibration: Calibration, path: Path) -> None:
    """Writes a file that `load_calibration` reads; its folder is made if it is not there."""
    content = calibration.content() | {"fitted": dict(calibration.fitted)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _rising(
    scores: list[float], values: list[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots, rounded; of those that are then no further than the one before, none."""
    kept: list[tuple[float, float]] = []
    last = (round(float(scores[-1]), DIGITS), round(float(values[-1]), DIGITS))
    for score, value in zip(scores[:-1], values[:-1], strict=True):
        knot = round(float(score), DIGITS), round(float(value), DIGITS)
        below_last = knot[0] < last[0] and knot[1] < last[1]
        if below_last and (not kept or (knot[0] > kept[-1][0] and knot[1] > kept[-1][1])):
            kept.append(knot)
    kept.append(last)
    return tuple(score for score, _ in kept), tuple(value for _, value in kept)
