"""Terms of tones and colours: which occur, and whether one copy's follow from the other's."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.compare.aligned import Aligned
from nucleus_data.stages.compare.planes import (
    Pixels,
    Plane,
    Terms,
    box_mean,
    laplacian,
    log_ratio,
    luma,
    opponents,
    shrunk,
)

LIGHT, DARK = 252, 3  # levels from which a channel counts as clipped
MIDDLE = 118  # the mean level of many pictures
STEP = 32  # differences of levels are divided by this
Counts = NDArray[np.float64]


def tone_terms(pair: Aligned) -> Terms:
    """Computes the terms of levels and of colours."""
    return {**_levels(pair.fine), **_channels(pair.fine), **_colours(pair), **_casts(pair)}


def _levels(fine: tuple[Pixels, Pixels]) -> Terms:
    """Compares the distributions of luma."""
    planes = [luma(pixels) for pixels in fine]
    mine, its = (_shares(plane) for plane in planes)
    (dark, light, mean), (dark2, light2, mean2) = (_tails(shares) for shares in (mine, its))
    spread = [_unexplained(a, b) for a, b in (planes, planes[::-1])]
    combs = [float(np.abs(s[1:-1] - (s[:-2] + s[2:]) / 2).sum()) for s in (mine, its)]
    return {
        "levels": _entropy(mine) - _entropy(its),
        "comb": log_ratio(combs[0], combs[1], 0.02),
        "darkest": (dark - dark2) / STEP,
        "lightest": (light - light2) / STEP,
        "darkest_log": log_ratio(dark, dark2, 2),
        "lightest_log": log_ratio(255 - light, 255 - light2, 2),
        "off_middle": (abs(mean - MIDDLE) - abs(mean2 - MIDDLE)) / STEP,
        "range": log_ratio(light - dark, light2 - dark2, 4),
        "both_shift": abs(mean - mean2) / STEP,
        "clipped_dark": log_ratio(float(mine[:3].sum()), float(its[:3].sum()), 0.003),
        "clipped_light": log_ratio(float(mine[253:].sum()), float(its[253:].sum()), 0.003),
        "unexplained": log_ratio(spread[0], spread[1], 0.002),
    }


def _shares(plane: Plane | Pixels) -> Counts:
    """Returns the share of the pixels with each of 256 levels, float64[256]."""
    levels = np.clip(np.rint(plane), 0, 255).astype(np.int64).ravel()
    return np.bincount(levels, minlength=256) / plane.size


def _entropy(shares: Counts) -> float:
    """Returns the entropy of a distribution, in bits."""
    there = shares[shares > 0]
    return float(-(there * np.log2(there)).sum())


def _tails(shares: Counts) -> tuple[int, int, float]:
    """Returns the 1st and the 99th percentile, and the mean, of a distribution of levels."""
    below = np.cumsum(shares)
    dark, light = (int(np.searchsorted(below, share)) for share in (0.01, 0.99))
    return dark, light, float(shares @ np.arange(256))


def _unexplained(one: Plane, other: Plane) -> float:
    """Returns the share of the variance of `one` that the levels of `other` don't explain."""
    level = np.clip(np.rint(other), 0, 255).astype(np.int64).ravel()
    values = one.ravel().astype(np.float64)
    mean = np.bincount(level, values, 256) / np.maximum(np.bincount(level, minlength=256), 1)
    return float(((values - mean[level]) ** 2).mean() / (values.var() + 1.0))


def _channels(fine: tuple[Pixels, Pixels]) -> Terms:
    """Compares the levels of single channels, and the numbers of colours."""
    flats = [_hidden(*pair) for pair in (fine, fine[::-1])]
    entropies = [[_entropy(_shares(rgb[..., c])) for c in range(3)] for rgb in fine]
    counts = [_colour_count(rgb) for rgb in fine]
    return {
        # How much of the other's variation is lost where the first is clipped.
        "plateau": log_ratio(flats[1], flats[0], 0.004),
        "fewest_levels": min(entropies[0]) - min(entropies[1]),
        "most_levels": max(entropies[0]) - max(entropies[1]),
        "colours": float(np.log2(counts[0] + 8) - np.log2(counts[1] + 8)),
    }


def _hidden(one: Pixels, other: Pixels) -> float:
    """Measures how much `one` varies where a channel of `other` is clipped."""
    lost = 0.0
    for channel in range(3):
        mine, its = one[..., channel], other[..., channel]
        for at in (its >= LIGHT, its <= DARK):
            if (share := float(at.mean())) > 0.002:
                lost += share * min(1.0, float(mine[at].std()) / 12)
    return lost


def _colour_count(rgb: Pixels) -> int:
    packed = rgb[::2, ::2].astype(np.int64) @ np.array([65536, 256, 1])
    return len(np.unique(packed))


def _colours(pair: Aligned) -> Terms:
    """Compares saturation, and colour in fine detail."""
    whole = [_smooth(rgb) for rgb in pair.whole]
    mine, its = (float(np.sqrt(a.var() + b.var())) for a, b in whole)
    saturation = log_ratio(mine, its, 1.5)
    lost = [_lost(*planes) for planes in (whole, whole[::-1])]
    change = sum(float(((a - b) ** 2).mean()) for a, b in zip(*whole, strict=True))
    found = {
        "saturation": saturation,
        "both_saturation": 0.5 * float(np.log2((mine + 1.5) * (its + 1.5))),
        "colour_unexplained": log_ratio(lost[0], lost[1], 0.01),
        "both_colour_change": float(np.log2(change + 1)),
    }
    fine = [opponents(rgb) for rgb in pair.fine]
    for name, side in (("fine", 1), ("middle", 2)):
        energy = [sum(_energy(shrunk(p, side)) for p in planes) for planes in fine]
        found[f"colour_{name}"] = log_ratio(energy[0], energy[1], 0.3) - saturation * 0.5
    return found


def _smooth(rgb: Pixels) -> Sequence[Plane]:
    return [box_mean(plane, 1) for plane in opponents(rgb)]


def _energy(plane: Plane) -> float:
    return float(np.abs(laplacian(plane)).mean()) if min(plane.shape) > 3 else 0.0


def _lost(mine: Sequence[Plane], its: Sequence[Plane]) -> float:
    """Returns the share of one copy's colour variance that is not linear in the other's colours."""
    design = np.stack([*(p.ravel() for p in its), np.ones(its[0].size, np.float32)], axis=1)
    square = design.T @ design + np.eye(3) * 1e-3
    left = 0.0
    for plane in mine:
        solution = np.linalg.solve(square, design.T @ plane.ravel())
        left += float((plane.ravel() - design @ solution).var())
    return left / (sum(float(plane.var()) for plane in mine) + 4.0)


def _casts(pair: Aligned) -> Terms:
    """Compares tints: overall, of the lightest and darkest pixels, and of the channels' maxima."""
    measures = [_tints(rgb) for rgb in pair.whole]
    scales = {"tint": 16, "tint_light": 16, "tint_dark": 16, "tops": 32}
    return {
        name: (mine - its) / scale
        for (name, scale), mine, its in zip(scales.items(), *measures, strict=True)
    }


def _tints(rgb: Pixels) -> tuple[float, float, float, float]:
    a, b = _smooth(rgb)
    plane = luma(rgb)
    light, dark = plane >= np.quantile(plane, 0.97), plane <= np.quantile(plane, 0.03)
    all_over, lights, darks = (
        float(np.hypot(a[at].mean(), b[at].mean())) for at in (np.s_[:, :], light, dark)
    )
    tops = [float(np.quantile(rgb[..., c], 0.995)) for c in range(3)]
    return all_over, lights, darks, max(tops) - min(tops)
