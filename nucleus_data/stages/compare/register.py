"""Registers two copies: finds the orientation, and a scale and a shift on each axis.

The map is found by least squares, from coarse to fine (Lucas and Kanade 1981), on luma whose
brightness and contrast are normalised locally, so that changed tones and colours do not matter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleus_data.stages.compare.planes import (
    Pixels,
    Plane,
    box_mean,
    correlation,
    luma,
    scaled,
    turned,
)

Map = NDArray[np.float64]  # float64[4]: scale and shift across, scale and shift down
PLAIN: Map = np.array([1.0, 0.0, 1.0, 0.0])  # the identity
LEVELS = ((64, 12), (160, 8), (320, 8))  # longer side in pixels, and number of steps
STARTS = (1.0, 0.94, 1.065, 0.88, 1.13)  # scales to start from at the coarsest level
LARGEST_STEP = 0.05  # largest change of a scale or shift in one step
SCALES = (0.7, 1.43)  # range of accepted scales
NEAR = 0.35  # a map that moves corners by fewer pixels counts as the identity
PLAIN_FIT = 0.8  # with a better fit, one step shows whether the map is the identity
BETTER = 0.75  # largest share of the identity's misfit that a map may leave
# To find the orientation: side in pixels, the fit from which upright is taken without trying
# others, and by how much the fit of another orientation must be better.
SIDE, SURE, TURNED_GAIN = 48, 0.5, 0.08


@dataclass(frozen=True)
class Place:
    """A map from one copy's frame to another's: `scale * place + shift`, on each axis.

    Attributes:
        scale: Scale across and down.
        shift: Shift across and down, as a share of the frame's width and height.
        turn: The orientation of the other copy (see `planes.turned`).
        fit: How well they agree: the correlation of local contrasts, -1 to 1.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    turn: int = 0
    fit: float = 1.0

    @property
    def plain(self) -> bool:
        """Whether it is the identity, so that both copies show the whole picture."""
        return self.scale == (1.0, 1.0) and self.shift == (0.0, 0.0)

    def inverse(self) -> "Place":
        """Returns the inverse map."""
        scale = (1 / self.scale[0], 1 / self.scale[1])
        shift = (-self.shift[0] * scale[0], -self.shift[1] * scale[1])
        return Place(scale, shift, self.turn, self.fit)


def register(one: Pixels, other: Pixels) -> Place:
    """Finds the map from `one` to `other`.

    Args:
        one: A whole picture, scaled down, uint8[H, W, 3].
        other: A copy of it, likewise.
    """
    turn = _orientation(one, other)
    mine, its = luma(one), luma(turned(other, turn))
    size, fixed, moving = _contrasts(mine, its, LEVELS[-1][0])
    # Nearly all copies show the whole picture; then one step from the identity confirms it.
    straight = correlation(fixed, moving)
    if straight > PLAIN_FIT and _away(_step(fixed, moving, PLAIN), size) < NEAR:
        return Place(turn=turn, fit=straight)
    found = PLAIN
    for i, (side, steps) in enumerate(LEVELS):
        coarse = _contrasts(mine, its, side)[1:]
        starts = [_around(start) for start in STARTS] if i == 0 else [found]
        tried = [refined(*coarse, start, steps) for start in starts]
        found = max(tried, key=lambda each: each[1])[0]
    moved = _fit(fixed, moving, found)
    if _away(found, size) < NEAR or 1 - moved > BETTER * (1 - straight):
        return Place(turn=turn, fit=straight)
    scale, shift = (float(found[0]), float(found[2])), (float(found[1]), float(found[3]))
    return Place(scale, shift, turn, moved)


def local_contrast(plane: Plane, radius: int) -> Plane:
    """Normalises luma by its local mean and deviation, after a 3x3 mean that removes noise.

    Args:
        plane: Luma, float32[H, W].
        radius: Radius in pixels of the square in which mean and deviation are computed.
    """
    plane = box_mean(plane, 1)
    centred: Plane = plane - box_mean(plane, radius)
    spread = np.sqrt(box_mean(centred * centred, radius))
    floor = 0.25 * float(spread.mean()) + 0.5
    return (centred / (spread + floor)).astype(np.float32, copy=False)


def sample(plane: Plane, xs: Map, ys: Map) -> tuple[Plane, NDArray[np.bool_]]:
    """Samples a plane on a grid, by linear interpolation.

    Args:
        plane: float32[H, W].
        xs: Positions of the grid's columns in pixels, where 0 is the centre of the first pixel.
        ys: Positions of the grid's rows, likewise.

    Returns:
        The values on the grid, and whether each position is inside the plane.
    """
    height, width = plane.shape
    inside = ((ys >= -0.5) & (ys <= height - 0.5))[:, None] & ((xs >= -0.5) & (xs <= width - 0.5))
    xs, ys = np.clip(xs, 0, width - 1), np.clip(ys, 0, height - 1)
    x0 = np.minimum(xs.astype(int), max(0, width - 2))
    y0 = np.minimum(ys.astype(int), max(0, height - 2))
    fx, fy = (xs - x0).astype(np.float32), (ys - y0).astype(np.float32)[:, None]
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    top, bottom = plane[y0], plane[y1]
    rows = top + (bottom - top) * fy
    return rows[:, x0] + (rows[:, x1] - rows[:, x0]) * fx, inside


def refined(fixed: Plane, moving: Plane, found: Map, steps: int) -> tuple[Map, float]:
    """Refines a map by Gauss-Newton steps.

    Args:
        fixed: Local contrast of the first picture, float32[H, W].
        moving: Local contrast of the other picture, in the same size.
        found: The map to start from.
        steps: Most steps.

    Returns:
        The best map on the way, and its fit.
    """
    best, best_fit = found, _fit(fixed, moving, found)
    for _ in range(steps):
        before, found = found, _step(fixed, moving, found)
        if not all(SCALES[0] < scale < SCALES[1] for scale in (found[0], found[2])):
            break
        fit = _fit(fixed, moving, found)
        if fit > best_fit:
            best, best_fit = found, fit
        if np.abs(found - before).max() * max(fixed.shape) < 0.01:
            break
    return best, best_fit


def _step(fixed: Plane, moving: Plane, found: Map) -> Map:
    """Makes one Gauss-Newton step from a map."""
    height, width = fixed.shape
    gy, gx = np.gradient(moving)
    u = (np.arange(width, dtype=np.float32) + 0.5) / width
    v = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    grid = _grid(fixed.shape, found)
    values, inside = sample(moving, *grid)
    across = sample(gx, *grid)[0] * width
    down = sample(gy, *grid)[0] * height
    lack = (fixed - values) * inside
    weight = inside / (1 + lack * lack)  # robust weights: what only one copy shows counts less
    terms = [across * u, across, down * v, down]
    left = np.array([[float((a * b * weight).sum()) for b in terms] for a in terms])
    right = np.array([float((a * lack * weight).sum()) for a in terms])
    stable = left + np.eye(4) * (1e-6 * np.trace(left) + 1e-9)
    change = np.linalg.solve(stable, right)
    moved: Map = found + np.clip(change, -LARGEST_STEP, LARGEST_STEP)
    return moved


def _contrasts(one: Plane, other: Plane, side: int) -> tuple[tuple[int, int], Plane, Plane]:
    """Returns a size with the given longer side, and both planes in it, as local contrasts."""
    factor, radius = min(1.0, side / max(one.shape)), max(2, side // 20)
    size = max(8, round(one.shape[1] * factor)), max(8, round(one.shape[0] * factor))
    planes = [local_contrast(scaled(plane, *size), radius) for plane in (one, other)]
    return size, planes[0], planes[1]


def _away(found: Map, size: tuple[int, int]) -> float:
    """Returns by how many pixels a map moves a corner at most."""
    across = max(abs(found[1]), abs(found[0] + found[1] - 1)) * size[0]
    down = max(abs(found[3]), abs(found[2] + found[3] - 1)) * size[1]
    return float(max(across, down))


def _around(scale: float) -> Map:
    """Returns the map that scales around the centre."""
    return np.array([scale, (1 - scale) / 2, scale, (1 - scale) / 2])


def _orientation(one: Pixels, other: Pixels) -> int:
    """Returns the orientation of `other` that is most similar to `one`; upright if in doubt."""
    fixed = box_mean(local_contrast(scaled(luma(one), SIDE, SIDE), 6), 1)
    fits = []
    for turn in range(8):
        moving = local_contrast(scaled(luma(turned(other, turn)), SIDE, SIDE), 6)
        fits.append(correlation(fixed, box_mean(moving, 1)))
        if turn == 0 and fits[0] > SURE:
            return 0
    best = int(np.argmax(fits))
    return best if fits[best] > fits[0] + TURNED_GAIN else 0


def _grid(shape: tuple[int, ...], found: Map) -> tuple[Map, Map]:
    """Returns where a map moves the columns and the rows of a plane, in pixels."""
    height, width = shape
    u, v = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    xs = (found[0] * u + found[1]) * width - 0.5
    ys = (found[2] * v + found[3]) * height - 0.5
    return xs, ys


def _fit(fixed: Plane, moving: Plane, found: Map) -> float:
    values, inside = sample(moving, *_grid(fixed.shape, found))
    if inside.mean() < 0.5:
        return -1.0
    return correlation(fixed[inside], values[inside])
