"""Terms of what only one copy shows, in some places: text, stamps, frames, margins."""

import numpy as np

from nucleus_data.stages.compare.aligned import Aligned
from nucleus_data.stages.compare.planes import (
    Pixels,
    Plane,
    Terms,
    blocks,
    box_mean,
    log_ratio,
    luma,
    shrunk,
    slope,
    turned,
)
from nucleus_data.stages.compare.register import Place
from nucleus_data.stages.compare.views import View

BLOCK = 6  # pixels of a block's side
FEW, FEW_BLOCKS = 50, 20  # "few places" are one in so many pixels, or blocks
FLOOR = 0.7
FLAT, STEP = 6, 10  # in levels of 0 to 255


def place_terms(pair: Aligned, one: View, other: View) -> Terms:
    """Computes the terms of what only one copy shows, inside the other's frame or beyond it.

    Args:
        pair: The aligned copies.
        one: The first copy.
        other: The other copy.
    """
    return {**_marks(pair), **_margins(pair.place, one, other)}


def _marks(pair: Aligned) -> Terms:
    """Measures edges that only one copy has, in few places."""
    small = [box_mean(luma(rgb), 1) for rgb in pair.whole]
    contrast = [float(shrunk(plane, 8).std()) + 1 for plane in small]
    common = min(contrast)
    mine, its = (
        (plane - plane.mean()) * (common / c) for plane, c in zip(small, contrast, strict=True)
    )
    edges, others = slope(mine), slope(its)
    ratio = float(np.sqrt((edges**2).sum() / ((others**2).sum() + 1e-6) + 1e-9))
    tops = [
        _top(np.maximum(edges - others * max(1.0, ratio), 0)),
        _top(np.maximum(others - edges * max(1.0, 1 / ratio), 0)),
    ]
    away, by_mine, by_its, signed = (
        blocks(plane, BLOCK) for plane in (np.abs(mine - its), edges, others, mine - its)
    )
    there = np.argsort(-away, kind="stable")[: max(1, len(away) // FEW_BLOCKS)]
    local = float(away[there].sum() / (away.sum() + 1e-6))
    edges_there = log_ratio(float(by_mine[there].mean()), float(by_its[there].mean()), FLOOR)
    return {
        "edges_alone": log_ratio(tops[0], tops[1], FLOOR),
        "both_local": local,
        "both_away": float(np.log2(away.mean() / common * 100 + 0.3)),
        "edges_there": edges_there,
        "edges_local": edges_there * local * 3,
        "lighter_there": float(np.clip(signed[there].mean() / 16, -3, 3)),
    }


def _top(plane: Plane) -> float:
    """Returns the mean of the largest few values."""
    return float(np.mean(np.sort(plane, axis=None)[-max(1, plane.size // FEW) :]))


def _margins(place: Place, one: View, other: View) -> Terms:
    """Measures what one copy shows beyond the other's edge: more of the picture, or a frame."""
    if place.plain:
        return {"shows_more": 0.0, "framed": 0.0, "both_moved": 0.0}
    # Above 0 if the first shows all of the other, and more.
    area = float(np.log2(place.scale[0] * place.scale[1]))
    mine, its = _frame(one.whole, place), _frame(turned(other.whole, place.turn), place.inverse())
    return {
        "shows_more": float(np.clip(area * 10, -3, 3)),
        "framed": mine - its,
        "both_moved": 1.0,
    }


def _frame(whole: Pixels, place: Place) -> float:
    """Returns how likely it is that what only one copy shows is a plain frame, 0 to 1."""
    plane = whole.astype(np.float32)
    strips = []
    for axis in (0, 1):
        across = plane if axis == 0 else plane.transpose(1, 0, 2)
        side = across.shape[1]
        low = -place.shift[axis] / place.scale[axis]
        high = (1 - place.shift[axis]) / place.scale[axis]
        # A pixel at the border of each strip belongs to both copies, and is left out.
        near, far = int(np.floor(low * side)) - 1, int(np.ceil(high * side)) + 1
        if near > 0:
            strips.append((across[:, :near], across[:, near + 2 : near + 5]))
        if far < side:
            strips.append((across[:, far:], across[:, max(0, far - 5) : far - 2]))
    found = []
    for strip, inside in strips:
        flat = 1 / (1 + (float(strip.std(axis=(0, 1)).mean()) / FLAT) ** 2)
        # A picture on a plain background has no step where the cropped copy ends; a frame has one.
        step = float(np.abs(inside - strip.mean(axis=(0, 1))).mean()) if inside.size else 0.0
        found.append(flat * step / (step + STEP))
    return float(np.mean(found)) if found else 0.0
