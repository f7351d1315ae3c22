"""Puts two copies on one grid: that of the coarser one, to which the finer one is scaled down."""

from dataclasses import dataclass

import numpy as np

from nucleus_data.stages.compare.planes import Box, Pixels, Plane, luma, resized, turned
from nucleus_data.stages.compare.register import (
    PLAIN,
    Place,
    local_contrast,
    refined,
    register,
    sample,
)
from nucleus_data.stages.compare.views import View

SAME_SCALE = 0.012  # scales whose binary logarithms differ by less can't be distinguished
LEAST = 24  # shortest side in pixels of the common part
# If a cut deviates by less than these from whole pixels, in pixels, it is rounded to whole pixels:
# the difference of the sides, the shift, and the difference of the sides after alignment.
SAME_SIDE, WHOLE_SHIFT, WHOLE_SIDE = 0.6, 0.25, 0.5
Span = tuple[float, float]


@dataclass(frozen=True)
class Aligned:
    """The common part of two copies; pairs are (first, other).

    Attributes:
        place: The map from the first copy to the other.
        density: How many times as many pixels the first has for the same part, across and down.
        fine: Both windows on the grid of the coarser one, RGB.
        own: The common part of both windows, each at its own scale, luma.
        whole: Both whole pictures, small, on one grid, RGB.
    """

    place: Place
    density: tuple[float, float]
    fine: tuple[Pixels, Pixels]
    own: tuple[Plane, Plane]
    whole: tuple[Pixels, Pixels]


def align(one: View, other: View) -> Aligned:
    """Aligns two copies, and puts them on one grid."""
    place = register(one.whole, other.whole)
    whole, window = turned(other.whole, place.turn), turned(other.window, place.turn)
    width, height = (other.width, other.height)[:: -1 if place.turn % 2 else 1]
    density = (one.width / (width * place.scale[0]), one.height / (height * place.scale[1]))
    if not place.plain:
        return _moved(one, other, place, density, whole, window)
    coarse = min(one.window, window, key=lambda pixels: pixels.shape[0] * pixels.shape[1])
    size = coarse.shape[1::-1]
    return Aligned(
        place,
        density,
        (resized(one.window, *size), resized(window, *size)),
        (luma(one.window), luma(window)),
        (one.whole, resized(whole, *one.whole.shape[1::-1])),
    )


def _moved(
    one: View,
    other: View,
    place: Place,
    density: tuple[float, float],
    whole: Pixels,
    window: Pixels,
) -> Aligned:
    """Cuts the common part out of each copy, and puts both parts on one grid."""
    # Scales this close count as equal, since maps are not found more precisely.
    if max(abs(np.log2(density))) < SAME_SCALE:
        density = (1.0, 1.0)
    inner, its = _inner(one, swap=False), _inner(other, swap=bool(place.turn % 2))
    box = [_common(*axis) for axis in zip(inner, its, place.scale, place.shift, strict=True)]
    moved = [
        (low * scale + shift, high * scale + shift)
        for (low, high), scale, shift in zip(box, place.scale, place.shift, strict=True)
    ]
    cuts = _cut(one.window, inner, box), _cut(window, its, moved)
    left, top, right, bottom = min(cuts, key=lambda c: (c[2] - c[0]) * (c[3] - c[1]))
    size = max(LEAST, round(right - left)), max(LEAST, round(bottom - top))
    fine = resized(one.window, *size, box=cuts[0]), resized(window, *size, box=cuts[1])
    fine = fine[0], _nearer(fine, window, cuts[1])
    own = luma(_whole_pixels(one.window, cuts[0])), luma(_whole_pixels(window, cuts[1]))
    return Aligned(place, density, fine, own, _laid_over(one.whole, whole, place))


def _inner(one: View, *, swap: bool) -> list[Span]:
    """Returns the part of the frame that the window shows, on each axis, as shares."""
    height, width = one.window.shape[:2]
    shares = [
        min(1.0, width / (one.width * one.scale)),
        min(1.0, height / (one.height * one.scale)),
    ]
    if swap:
        shares.reverse()
    return [((1 - share) / 2, (1 + share) / 2) for share in shares]


def _common(inner: Span, its: Span, scale: float, shift: float) -> Span:
    """Returns the common span of both windows on an axis, in the frame of the first."""
    low, high = max(inner[0], (its[0] - shift) / scale), min(inner[1], (its[1] - shift) / scale)
    return low, max(high, low + 1e-3)


def _cut(window: Pixels, inner: list[Span], box: list[Span]) -> Box:
    """Converts a box of the frame to pixels of the window."""
    places = []
    for (low, high), ends, side in zip(inner, box, window.shape[1::-1], strict=True):
        pixels = [(end - low) / (high - low) * side for end in ends]
        start, end = (min(float(side), max(0.0, pixel)) for pixel in pixels)
        places.append((min(start, side - 1.0), max(end, start + 1)))
    (left, right), (top, bottom) = places
    return left, top, min(right, window.shape[1]), min(bottom, window.shape[0])


def _nearer(fine: tuple[Pixels, Pixels], window: Pixels, area: Box) -> Pixels:
    """Refines the other's cut to fractions of a pixel, which the small pictures do not resolve."""
    fixed, moving = (local_contrast(luma(each), 8) for each in fine)
    found, _ = refined(fixed, moving, PLAIN, 4)
    height, width = fine[0].shape[:2]
    left, top, right, bottom = area
    across, down = right - left, bottom - top
    moved = (
        left + found[1] * across,
        top + found[3] * down,
        left + (found[0] + found[1]) * across,
        top + (found[2] + found[3]) * down,
    )
    # A copy that was cropped at the same scale is shifted by whole pixels: nothing is resampled.
    if abs(across - width) < SAME_SIDE and abs(down - height) < SAME_SIDE:
        corner = round(moved[0]), round(moved[1])
        away = max(abs(moved[0] - corner[0]), abs(moved[1] - corner[1]))
        longer = max(abs(moved[2] - moved[0] - width), abs(moved[3] - moved[1] - height))
        if away < WHOLE_SHIFT and longer < WHOLE_SIDE:
            moved = (*corner, corner[0] + width, corner[1] + height)
    sides = window.shape[1::-1] * 2
    moved = tuple(min(float(side), max(0.0, m)) for m, side in zip(moved, sides, strict=True))
    if moved[2] - moved[0] < LEAST or moved[3] - moved[1] < LEAST:
        return fine[1]
    return resized(window, width, height, box=moved)


def _whole_pixels(pixels: Pixels, area: Box) -> Pixels:
    """Returns the pixels of a box, rounded to whole pixels; at least eight on each axis."""
    left, top, right, bottom = (round(place) for place in area)
    return pixels[top : max(top + 8, bottom), left : max(left + 8, right)]


def _laid_over(one: Pixels, other: Pixels, place: Place) -> tuple[Pixels, Pixels]:
    """Returns both whole pictures on the grid of the first, cropped to the common part."""
    height, width = one.shape[:2]
    us, vs = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    xs = (us * place.scale[0] + place.shift[0]) * other.shape[1] - 0.5
    ys = (vs * place.scale[1] + place.shift[1]) * other.shape[0] - 0.5
    channels = [sample(other[..., c].astype(np.float32), xs, ys) for c in range(3)]
    inside = channels[0][1]
    levels = np.stack([values for values, _ in channels], axis=-1)
    its = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    rows, columns = inside.any(axis=1), inside.any(axis=0)
    return one[rows][:, columns], its[rows][:, columns]
