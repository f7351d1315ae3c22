"""What speaks for the one of two copies against the other: one number, and the names of faults.

The number is of a small network over the terms of the pair, whose weights `scripts/fit_copies.py`
fits on pairs of known truth. It is odd: copies in the other order give the same number, negative.
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

# Copies whose local contrasts agree less than this do not show the same picture.
LEAST_FIT = 0.3
CLIPPED = 3.0  # deviations beyond which a term counts no more
# What a copy with more pixels need not prove where the two differ by little else: all copies that
# were smaller came out so, and a fit on some pictures is less sure of others.
SIZE_MARGIN = 2.0
SAME = {"both_stretch": 0.2, "both_shift": 0.05, "saturation": 0.1, "contrast": 0.05}
SAME_SIZE = 0.03
# What says nothing of a copy in inks against one that is not: a JPEG in inks keeps the noise that
# its compression makes in each of the four at full scale, and decoded it is colour in fine detail.
INK_NOISE = ("colour_fine", "colour_middle", "colours")


@dataclass(frozen=True)
class Known:
    """What the signals say of a copy alone; None where they are missing.

    Attributes:
        worse, quality: As in the order by signals.
        blocks: Visible blocks.
        traces: Traces of enlarging.
    """

    worse: float | None = None
    quality: float | None = None
    blocks: float | None = None
    traces: float | None = None


class Evidence(NamedTuple):
    """What a comparison found.

    Attributes:
        score: Above 0 where the first one is better; 0 if nothing can be said.
        faults: What is worse in the one that is not better.
    """

    score: float
    faults: tuple[str, ...] = ()


def compare(one: View, other: View, known: Known, others: Known) -> Evidence:
    """Compares two copies.

    Args:
        one: A decoded copy.
        other: Another one.
        known: What the signals of the first say.
        others: What those of the other say.
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
    """The terms of a pair with the differences of what the signals say."""
    found = dict(terms)
    for field in fields(Known):
        mine, its = getattr(known, field.name), getattr(others, field.name)
        missing = mine is None or its is None
        found[f"known_{field.name}"] = 0.0 if missing else float(mine - its)
    return found


def score_of(terms: Terms) -> float:
    """What speaks for the first one; rounded, since machines differ in the last bits."""
    model = the_model()
    values = np.array([terms[name] for name in model.names])
    values = np.clip((values - model.middle) / model.spread, -CLIPPED, CLIPPED)
    raw = _half(model, values) - _half(model, values * model.sign)
    return round(raw + size_bonus(terms), 3)


def size_bonus(terms: Terms) -> float:
    """What speaks for the finer one because it has more pixels, if they differ by little else."""
    size = terms["size"]
    apart = any(abs(terms[name]) > most for name, most in SAME.items())
    if abs(size) < SAME_SIZE or terms["both_moved"] or apart:
        return 0.0
    return SIZE_MARGIN if size > 0 else -SIZE_MARGIN


def _half(model: Model, values: np.ndarray) -> float:
    hidden = np.tanh(model.inner @ values + model.bias)
    return float(model.outer @ hidden + model.straight @ values)
