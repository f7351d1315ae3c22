"""Calibrates cosines of a picture and a caption to probabilities that they belong together.

The meaning of a cosine depends on the model, so a threshold such as 0.65 requires a probability.
The map is an isotonic regression on pairs that are known to match or not. Each of its steps is
tilted slightly towards its neighbours, and its ends are extended to (-1, 0) and (1, 1), so that it
increases strictly: the order of scores, and thus their AUC, does not change. (Linear interpolation
between the steps' centres would be smoother, but wrong by up to 0.4 if a model separates most pairs
and the first and last steps are wide.)

The probabilities depend on the assumed share of matched pairs (`prior`), by default 0.5: in a
collection with fewer wrong captions, the same cosine means a higher probability.

The file is JSON with `version`, `model`, `revision`, the knots `scores` and `values`, and `fitted`,
which records how the map was made, and does not affect scores.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleus_data.errors import RequestError

Scores = NDArray[np.floating]
VERSION = 1
FEWEST = 20  # minimum number of pairs of each kind; with fewer, the map would overfit
TILT = 0.02  # tilt of a step's end, as a share of the difference to the next step's value
DIGITS = 9  # decimal digits of a knot: more precise than any set of pairs, and still readable
_REQUIRED = ("version", "model", "revision", "scores", "values")
_KEYS = (*_REQUIRED, "fitted")


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing, piecewise linear map from raw scores to probabilities.

    Attributes:
        model: Name of the embedding model that computes the cosines.
        revision: Revision of that model.
        scores: Raw scores of the knots, increasing.
        values: Probabilities of the knots, increasing, in [0, 1].
        fitted: Record of how the map was made and of its quality; does not affect scores.
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
                f"got {scores.size} scores and {values.size} values; "
                "both must have the same number, at least 2"
            )
        if not (np.isfinite(scores).all() and np.isfinite(values).all()):
            raise ValueError("scores and values must be finite numbers")
        if not ((np.diff(scores) > 0).all() and (np.diff(values) > 0).all()):
            raise ValueError("scores and values must increase from each knot to the next")
        if values[0] < 0 or values[-1] > 1:
            raise ValueError(f"values must be within 0 to 1, got {values[0]:g} to {values[-1]:g}")

    def apply(self, raw: Scores) -> NDArray[np.float32]:
        """Maps raw scores, [N], to probabilities, float32[N]; NaN stays NaN."""
        probabilities = np.interp(np.asarray(raw, np.float64), self.scores, self.values)
        return probabilities.astype(np.float32)

    def raw(self, value: float) -> float:
        """Returns the raw score for a probability; the inverse of `apply`."""
        return float(np.interp(value, self.values, self.scores))

    def content(self) -> dict[str, Any]:
        """Returns the fields that determine scores, for a config hash and `calibration_of`."""
        return {
            "version": VERSION,
            "model": self.model,
            "revision": self.revision,
            "scores": list(self.scores),
            "values": list(self.values),
        }


def fit_calibration(
    matched: Scores,
    mismatched: Scores,
    *,
    model: str,
    revision: str,
    prior: float = 0.5,
    fitted: Mapping[str, Any] | None = None,
) -> Calibration:
    """Fits a calibration to pairs.

    Args:
        matched: [N], raw scores of pictures with their own captions.
        mismatched: [M], raw scores of pictures with captions of other pictures.
        model: Name of the embedding model.
        revision: Revision of that model.
        prior: Assumed share of matched pairs, above 0 and below 1.
        fitted: Record of how the pairs were made.

    Raises:
        ValueError: There are too few pairs, a score is not finite, or the prior is out of range.
    """
    from scipy.optimize import isotonic_regression

    kinds = [np.asarray(scores, np.float64) for scores in (matched, mismatched)]
    if min(map(len, kinds)) < FEWEST:
        raise ValueError(
            f"got {len(kinds[0])} matched and {len(kinds[1])} mismatched pairs; at least {FEWEST} "
            "of each are needed"
        )
    if not all(np.isfinite(scores).all() for scores in kinds):
        raise ValueError("a raw score is not a finite number")
    if not 0 < prior < 1:
        raise ValueError(f"prior must be above 0 and below 1, got {prior}")
    # Targets slightly inside of 0 and 1 (Platt 1999), as N pairs do not prove certainty.
    targets = [(len(kinds[0]) + 1) / (len(kinds[0]) + 2), 1 / (len(kinds[1]) + 2)]
    shares = [prior / len(kinds[0]), (1 - prior) / len(kinds[1])]
    scores, place = np.unique(np.concatenate(kinds), return_inverse=True)
    counts = [len(kind) for kind in kinds]
    weights = np.bincount(place, np.repeat(shares, counts))
    means = np.bincount(place, np.repeat(np.multiply(targets, shares), counts)) / weights
    found = isotonic_regression(means, weights=weights)
    first, last = found.blocks[:-1], found.blocks[1:] - 1
    steps = np.concatenate([[0.0], found.x[first], [1.0]])
    gaps = TILT * np.diff(steps)
    sides = [steps[1:-1] - gaps[:-1], steps[1:-1] + gaps[1:]]
    knots = _rising(
        [
            min(-1.0, scores[0]),
            *np.stack([scores[first], scores[last]], 1).ravel(),
            max(1.0, scores[-1]),
        ],
        [0.0, *np.stack(sides, 1).ravel(), 1.0],
    )
    return Calibration(model, revision, *knots, fitted=dict(fitted or {}))


def calibration_of(content: Mapping[str, Any], place: str = "calibration") -> Calibration:
    """Makes a calibration from the content of its file, or of a configuration.

    Args:
        content: The content, with the keys of the file.
        place: Name of the file or setting, for messages.

    Raises:
        RequestError: The content is not a valid calibration.
    """
    unknown = sorted(set(content) - set(_KEYS))
    missing = [key for key in _REQUIRED if key not in content]
    if unknown or missing:
        raise RequestError(
            f"{place}: "
            + "; ".join(
                [
                    *(f"missing key {k!r}" for k in missing),
                    *(f"unknown key {k!r}" for k in unknown),
                ]
            )
            + f"; the keys of a calibration are {', '.join(_KEYS)}"
        )
    if content["version"] != VERSION:
        raise RequestError(
            f"{place}: version {content['version']!r} is not supported, only {VERSION}; "
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
    """Reads a file that `save_calibration` wrote.

    Raises:
        RequestError: The file does not exist or is not a valid calibration.
    """
    path = Path(path).expanduser()
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} is not a calibration: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(
            f"{path} is not a calibration: it must hold an object, got {type(content).__name__}"
        )
    return calibration_of(content, str(path))


def save_calibration(calibration: Calibration, path: Path) -> None:
    """Writes a file for `load_calibration`; its folder is created if necessary."""
    content = calibration.content() | {"fitted": dict(calibration.fitted)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _rising(
    scores: list[float], values: list[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rounds knots, and omits those that then do not strictly exceed the previous one."""
    kept: list[tuple[float, float]] = []
    last = (round(float(scores[-1]), DIGITS), round(float(values[-1]), DIGITS))
    for score, value in zip(scores[:-1], values[:-1], strict=True):
        knot = round(float(score), DIGITS), round(float(value), DIGITS)
        below_last = knot[0] < last[0] and knot[1] < last[1]
        if below_last and (not kept or (knot[0] > kept[-1][0] and knot[1] > kept[-1][1])):
            kept.append(knot)
    kept.append(last)
    return tuple(score for score, _ in kept), tuple(value for _, value in kept)
