"""Compares two copies: a score that says which is better, and the names of the other's faults.

The score is the output of a small network on the terms of the pair. Its weights were fitted by
`scripts/fit_copies.py` on pairs of known truth. It is an odd function: swapping the copies negates
the score.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from nucleus_data.stages.compare.aligned import LEAST, align
from nucleus_data.stages.compare.faults import faults_of
from nucleus_data.stages.compare.model import Model, the_model
from nucleus_data.stages.compare.planes import Terms
from nucleus_data.stages.compare.terms import swapped, terms_of
from nucleus_data.stages.compare.views import View

# Copies whose local contrasts correlate less than this do not show the same picture.
LEAST_FIT = 0.3
CLIPPED = 3.0  # standardised terms are clipped to plus or minus this
# Added for the copy with more pixels if the two hardly differ otherwise. All copies that were
# smaller came out worse, and weights that were fitted on some pictures are less certain on others.
SIZE_MARGIN = 2.0
# Largest absolute values of terms with which copies count as hardly different.
SAME = {"both_stretch": 0.2, "both_shift": 0.05, "saturation": 0.1, "contrast": 0.05}
SAME_SIZE = 0.03
# Terms that are ignored if only one copy is in inks (CMYK). A JPEG in inks keeps the compression
# noise of each of its four channels at full scale, which after decoding looks like fine colour.
INK_NOISE = ("colour_fine", "colour_middle", "colours")


@dataclass(frozen=True)
class Known:
    """Signals of a single copy; None if they are missing (see `preference.MEASURES`).

    Attributes:
        worse, quality: Their values in the order by signals.
        blocks: Strength of visible compression blocks.
        traces: Strength of traces of enlarging.
    """

    worse: float | None = None
    quality: float | None = None
    blocks: float | None = None
    traces: float | None = None


class Evidence(NamedTuple):
    """The result of a comparison.

    Attributes:
        score: Above 0 if the first copy is better; 0 if undecided.
        faults: What is worse in the copy that is not better.
    """

    score: float
    faults: tuple[str, ...] = ()


def compare(one: View, other: View, known: Known, others: Known) -> Evidence:
    """Compares two copies.

    Args:
        one: A decoded copy.
        other: Another one.
        known: The signals of the first copy.
        others: The signals of the other copy.
    """
    if min(one.width, one.height, other.width, other.height) < LEAST:
        return Evidence(0.0)
    pair = align(one, other)
    if pair.place.fit < LEAST_FIT:
        return Evidence(0.0)
    terms = with_known(terms_of(pair, one, other), known, others)
    if one.inks != other.inks:
        terms |= dict.fromkeys(INK_NOISE, 0.0)
    score = score_of(terms)
    better = terms if score >= 0 else swapped(terms)
    return Evidence(score, faults_of(better))


def with_known(terms: Terms, known: Known, others: Known) -> Terms:
    """Returns the terms of a pair, with the differences of the copies' signals added.

    Args:
        terms: The terms of the pair.
        known: The signals of the first copy.
        others: The signals of the other copy.
    """
    extended = dict(terms)
    for field in fields(Known):
        mine, its = getattr(known, field.name), getattr(others, field.name)
        missing = mine is None or its is None
        extended[f"known_{field.name}"] = 0.0 if missing else float(mine - its)
    return extended


def score_of(terms: Terms) -> float:
    """Computes the score; it is rounded, because machines differ in the last bits."""
    model = the_model()
    values = np.array([terms[name] for name in model.names])
    values = np.clip((values - model.middle) / model.spread, -CLIPPED, CLIPPED)
    raw = _half(model, values) - _half(model, values * model.sign)
    return round(raw + size_bonus(terms), 3)


def size_bonus(terms: Terms) -> float:
    """Returns what is added to the score for more pixels, if the copies hardly differ otherwise."""
    size = terms["size"]
    apart = any(abs(terms[name]) > most for name, most in SAME.items())
    if abs(size) < SAME_SIZE or terms["both_moved"] or apart:
        return 0.0
    return SIZE_MARGIN if size > 0 else -SIZE_MARGIN


def _half(model: Model, values: np.ndarray) -> float:
    hidden = np.tanh(model.inner @ values + model.bias)
    return float(model.outer @ hidden + model.straight @ values)
