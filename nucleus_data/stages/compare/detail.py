"""Terms of fine detail: how much of it each copy has, in which frequencies, and where."""

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.compare.aligned import Aligned
from nucleus_data.stages.compare.planes import (
    Plane,
    Terms,
    blocks,
    extremes,
    laplacian,
    log_ratio,
    luma,
    middle_of_four,
    shrunk,
    slope,
)

TILE = 64  # side of a tile, in pixels
MOST_TILES = 8  # most tiles on each axis
# Radial frequencies, as shares of an axis's Nyquist frequency; the last band includes the corners.
BANDS = ((0.03, 0.12), (0.12, 0.25), (0.25, 0.45), (0.45, 0.65), (0.65, 0.85), (0.85, 1.5))
ENERGY_FLOOR = TILE**2 * 0.02
GRAIN_FLOOR = 0.3
BLOCK, SUBBLOCK = 12, 3
SPIKE = 40  # a pixel counts as a spike if it differs by more levels from its neighbours
SAME = 1e-3  # scales whose logarithms differ by less are equal


def detail_terms(pair: Aligned) -> Terms:
    """Computes the terms of fine detail."""
    one, other = (luma(pixels) for pixels in pair.fine)
    return {**_spectra(one, other), **_grain(one, other), **_finest(pair)}


def _spectra(one: Plane, other: Plane) -> Terms:
    """Compares the energy in each frequency band, and how much of it the copies have in common."""
    window = np.outer(np.hanning(TILE), np.hanning(TILE)).astype(np.float32)
    tiles = [_tiles(plane) for plane in (one, other)]
    spectra = [np.fft.rfft2((t - t.mean(axis=(1, 2), keepdims=True)) * window) for t in tiles]
    mine, its = ((np.abs(s) ** 2).mean(axis=0) for s in spectra)
    common = (spectra[0] * np.conj(spectra[1])).mean(axis=0).real
    v, u = np.abs(np.fft.fftfreq(TILE))[:, None] * 2, np.fft.rfftfreq(TILE)[None] * 2
    radius = np.hypot(u, v)
    found: Terms = {}
    base = low_energy = 0.0
    for k, (low, high) in enumerate(BANDS):
        mask = (radius >= low) & (radius < high)
        a, b, ab = (float(s[mask].mean()) for s in (mine, its, common))
        gain = 0.5 * log_ratio(a, b, ENERGY_FLOOR)
        found[f"both_coherence_{k}"] = max(0.0, ab) / float(np.sqrt(a * b + 1e-9))
        if k == 0:
            base, low_energy = gain, 0.25 * float(np.log2(a * b + 1e-9))
            found["contrast"] = gain
            continue
        found[f"band_{k}"] = gain - base
        energy = 0.25 * float(np.log2((a + ENERGY_FLOOR) * (b + ENERGY_FLOOR)))
        found[f"both_band_{k}"] = energy - low_energy
        # Energy that only one copy has, beyond what a change of contrast explains.
        found[f"alone_{k}"] = 0.5 * log_ratio(
            max(0.0, a - max(0.0, ab) ** 2 / (b + 1e-9)) / 2 ** max(0.0, 2 * base),
            max(0.0, b - max(0.0, ab) ** 2 / (a + 1e-9)) / 2 ** max(0.0, -2 * base),
            ENERGY_FLOOR,
        )
    for name, along, over in (("across", u, v), ("down", v, u)):
        mask = (along > 0.6) & (over < 0.4)
        a, b = float(mine[mask].mean()), float(its[mask].mean())
        found[f"band_{name}"] = 0.5 * log_ratio(a, b, ENERGY_FLOOR) - base
    return found


def _tiles(plane: Plane) -> NDArray[np.float32]:
    """Returns evenly spaced tiles of a plane, float32[N, TILE, TILE]."""
    if min(plane.shape) < TILE:
        pad = [(0, max(0, TILE - side)) for side in plane.shape]
        plane = np.pad(plane, pad, mode="reflect" if min(plane.shape) > TILE // 2 else "edge")
    counts = [min(MOST_TILES, max(1, 2 * side // TILE - 1)) for side in plane.shape]
    ys, xs = (
        np.unique(np.linspace(0, side - TILE, count).astype(int))
        for side, count in zip(plane.shape, counts, strict=True)
    )
    return np.stack([plane[y : y + TILE, x : x + TILE] for y in ys for x in xs])


def _grain(one: Plane, other: Plane) -> Terms:
    """Compares fine detail in flat and in busy areas, sharpening halos, and single-pixel noise."""
    spread = [float(shrunk(plane, 8).std()) for plane in (one, other)]
    base = log_ratio(spread[0], spread[1], 0.5)
    energy = [blocks(np.abs(laplacian(plane)), BLOCK) for plane in (one, other)]
    smooth = [shrunk(plane[1:-1, 1:-1], SUBBLOCK) for plane in (one, other)]
    activity = sum(blocks(slope(plane), BLOCK // SUBBLOCK) for plane in smooth)
    order = np.argsort(activity, kind="stable")
    n = len(order)
    found: Terms = {}
    for name, part in (
        ("flat", order[: max(1, n // 6)]),
        ("middle", order[n // 3 : max(n // 3 + 1, 2 * n // 3)]),
        ("busy", order[-max(1, n // 6) :]),
    ):
        a, b = (float(np.mean(each[part])) for each in energy)
        found[f"grain_{name}"] = log_ratio(a, b, GRAIN_FLOOR) - base
        found[f"both_grain_{name}"] = 0.5 * float(np.log2((a + GRAIN_FLOOR) * (b + GRAIN_FLOOR)))
    # By how much pixels exceed the range around them in the other copy, at equal contrast: halos.
    level = (one - one.mean()) / 2 ** max(0.0, base), (other - other.mean()) / 2 ** max(0.0, -base)
    beyond = []
    for mine, its in (level, level[::-1]):
        high, low = extremes(its)
        beyond.append(np.maximum(mine - high, 0) + np.maximum(low - mine, 0))
    mean = [float(plane.mean()) for plane in beyond]
    most = [float(np.quantile(plane[::3, ::3], 0.99)) for plane in beyond]
    found["beyond"] = log_ratio(mean[0], mean[1], 0.05)
    found["beyond_most"] = log_ratio(most[0], most[1], 1.0)
    away = [np.abs(plane[1:-1, 1:-1] - middle_of_four(plane)) for plane in (one, other)]
    spikes = [float((plane > SPIKE).mean()) for plane in away]
    found["spikes"] = log_ratio(spikes[0], spikes[1], 0.0005)
    return found


def _finest(pair: Aligned) -> Terms:
    """Compares the finest detail that each copy has on its own grid, along each axis.

    A copy that was stretched along one axis has less of it along that axis.
    """
    finest = [
        [log_ratio(_step(plane, 4, axis), _step(plane, 1, axis), 0.3) for axis in (1, 0)]
        for plane in pair.own
    ]
    changed = [abs(float(np.log2(density))) > SAME for density in pair.density]
    found: Terms = {}
    for axis, name in enumerate(("across", "down")):
        found[f"finest_{name}"] = finest[0][axis] - finest[1][axis]
        found[f"finest_if_{name}"] = found[f"finest_{name}"] if changed[axis] else 0.0
    apart = (finest[0][0] - finest[0][1]) - (finest[1][0] - finest[1][1])
    found["stretch_across"] = apart if changed == [True, False] else 0.0
    found["stretch_down"] = -apart if changed == [False, True] else 0.0
    return found


def _step(plane: Plane, order: int, axis: int) -> float:
    """Returns the mean absolute finite difference of an order along an axis."""
    return float(np.abs(np.diff(plane, order, axis=axis)).mean())
