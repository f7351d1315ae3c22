"""Finds the shapes in a picture: what kind, which colour, how large, and where.

Made to judge pictures that a small generator drew, so it looks at pixels alone, by colour and
outline: `segmentation` cuts the picture into components of one paint. A component is the kind whose
ideal coverage, at the component's centre and area, overlaps it best; too small, too large or too
unlike all kinds, it is nothing.

It knows nothing of written words, textures and styles: it is for the world's `core` level.

Shapes of arrays: H and W are the picture's sides, C its three channels (0 to 255).
"""

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image

from nucleus_data.world.painting import DISTANCES
from nucleus_data.world.scenes import CENTERS, COLUMNS, ROWS, SIZES
from nucleus_data.world.segmentation import (
    NAMES,
    PAINTS_PC,
    Array,
    blurred,
    components,
    coverage,
    estimate_ground,
    explain,
    pieces,
)

# Larger pictures are looked at scaled down to this shorter side.
SIDE = 96
# Pixels around a component where a blurred edge may still be, and the blurs that are tried.
MARGIN = 2
BLURS = (0.7, 1.1)
# The least and the greatest radius of a shape, as shares of the shorter side.
RADII = (0.07, 0.3)
# Half a diamond overlaps a diamond by 0.70; rings at 64 pixels, blurred, by 0.76 and more.
LEAST_OVERLAP = 0.72
SMALL_BELOW = (SIZES["small"][1] + SIZES["large"][0]) / 2


@dataclass(frozen=True)
class FoundObject:
    """A shape in a picture.

    Attributes:
        kind: One of `KINDS`.
        color: A key of `COLORS`.
        x: Centre, as a share of the width.
        y: Centre, as a share of the height.
        radius: A share of the shorter side.
        size: A key of `SIZES`.
        place: In the words of `Shape.place`.
        overlap: How well the ideal shape covers it, 0 to 1.
    """

    kind: str
    color: str
    x: float
    y: float
    radius: float
    size: str
    place: str
    overlap: float


def find_objects(image: Image.Image | Array) -> list[FoundObject]:
    """Finds the shapes in a picture.

    Args:
        image: A picture in any mode, or RGB as uint8 of shape (H, W, 3); 16 pixels a side or more.

    Returns:
        The shapes, in reading order of their places.

    Raises:
        ValueError: The array has another shape or type.
    """
    pixels_HWC = _pixels(image)
    ground_HWC = estimate_ground(pixels_HWC)
    if ground_HWC is None:
        return []
    share_HW, paint_HW = explain(pixels_HWC, ground_HWC)
    found = []
    labels_HW = components(share_HW > 0.5)
    for mask_HW in pieces(labels_HW, paint_HW, _least_pixels(labels_HW.shape)):
        color = int(np.bincount(paint_HW[mask_HW]).argmax())
        one = _named(mask_HW, coverage(pixels_HWC, ground_HWC, PAINTS_PC[color]), NAMES[color])
        found += [one] if one else []
    return sorted(found, key=lambda f: (_cell(f.y), _cell(f.x), f.y, f.x))


def _pixels(image: Image.Image | Array) -> Array:
    """RGB as float32 (H, W, C), scaled down to `SIDE`."""
    if not isinstance(image, Image.Image):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"image must be uint8 of shape (H, W, 3), got {image.dtype} of {image.shape}"
            )
        image = Image.fromarray(image)
    picture = image.convert("RGB")
    scale = SIDE / min(picture.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float32)


def _least_pixels(shape: tuple[int, ...]) -> float:
    """The area of the smallest shape that counts, in pixels."""
    return float((RADII[0] * min(shape)) ** 2)


@functools.cache
def _moments(kind: str) -> tuple[float, float]:
    """Area of a shape of radius 1, and how far its centre of gravity lies below its centre."""
    n = (np.arange(600, dtype=np.float64) - 299.5) / 240
    inside = DISTANCES[kind](n[None], n[:, None], 1.0) < 0
    return float(inside.mean() * 2.5**2), float((inside * n[:, None]).sum() / inside.sum())


def _named(mask_HW: Array, coverage_HW: Array, color: str) -> FoundObject | None:
    """The kind of a component by its overlap with each kind's ideal coverage, sharp or blurred."""
    height, width = mask_HW.shape
    side = min(height, width)
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    top, left = max(0, rows[0] - MARGIN), max(0, columns[0] - MARGIN)
    box = (slice(top, rows[-1] + 1 + MARGIN), slice(left, columns[-1] + 1 + MARGIN))
    cover = np.where(_grown(mask_HW[box], MARGIN), coverage_HW[box], 0)
    y = (np.arange(cover.shape[0], dtype=np.float32) + (top + 0.5))[:, None]
    x = (np.arange(cover.shape[1], dtype=np.float32) + (left + 0.5))[None]
    # The area tells the radius, for each kind another one, and the centre of gravity the centre: no
    # search over places and sizes is needed.
    area = float(cover.sum())
    center_x, center_y = float((cover * x).sum() / area), float((cover * y).sum() / area)
    best: tuple[float, str, float, float] = (0.0, "", 0.0, 0.0)
    for kind, distance in DISTANCES.items():
        unit, below = _moments(kind)
        radius = (area / unit) ** 0.5
        middle = center_y - below * radius
        sharp = np.clip(0.5 - distance(x - center_x, y - middle, radius), 0, 1)
        for ideal in (sharp, *(blurred(sharp[..., None], sigma)[..., 0] for sigma in BLURS)):
            overlap = float(np.minimum(ideal, cover).sum() / np.maximum(ideal, cover).sum())
            best = max(best, (overlap, kind, radius, middle))
    overlap, kind, radius, middle = best
    if overlap < LEAST_OVERLAP or not RADII[0] <= radius / side <= RADII[1]:
        return None
    at = (_cell(middle / height), _cell(center_x / width))
    return FoundObject(
        kind=kind,
        color=color,
        x=center_x / width,
        y=middle / height,
        radius=radius / side,
        size="small" if radius / side < SMALL_BELOW else "large",
        place="center" if at == (1, 1) else f"{ROWS[at[0]]} {COLUMNS[at[1]]}",
        overlap=overlap,
    )


def _grown(mask_HW: Array, times: int) -> Array:
    """The mask and what is so many steps or fewer from it."""
    grown = mask_HW.copy()
    for _ in range(times):
        before = grown.copy()
        grown[1:] |= before[:-1]
        grown[:-1] |= before[1:]
        grown[:, 1:] |= before[:, :-1]
        grown[:, :-1] |= before[:, 1:]
    return grown


def _cell(share: float) -> int:
    """The row or column whose middle is nearest."""
    return int(np.abs(np.asarray(CENTERS) - share).argmin())
