"""Finds the shapes in a picture, by colour and outline, and scores it against its scene.

Made to judge pictures that a small generator drew, so it looks at pixels alone:

1. The ground is the border's colour, shaded: a first guess takes in every pixel on the line of
   shades through it, a second one what no paint explains. It is smoothed and filled in under the
   shapes.
2. Every pixel is explained as a share of one of the eight paints over the ground beneath it. The
   paint with the least rest names it, the share is its coverage; edges, blurred or not, are halves
   of a paint and no colours of their own.
3. Covered pixels that touch make a component. It is the kind whose ideal coverage, at the
   component's centre and area, overlaps it best; too small, too large or too unlike all kinds, it
   is nothing. A component with much of a second paint is taken apart by paint first.

It knows nothing of written words, textures and styles: it is for the world's `core` level.

Shapes of arrays: H and W are the picture's sides, C its three channels (0 to 255), P the paints.
"""

import functools
from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nucleus_data.world.painting import DISTANCES
from nucleus_data.world.scenes import CENTERS, COLORS, COLUMNS, ROWS, SIZES, Scene

Array = NDArray[Any]

# Larger pictures are looked at scaled down to this shorter side.
SIDE = 96
PAINTS_PC = np.asarray(list(COLORS.values()), dtype=np.float32)
NAMES = tuple(COLORS)
# How far, in levels, a ground pixel may be from the line of shades, and from its middle along it.
OFF_SHADE, DARKEST = 32.0, 92.0
# What is nearer to a paint is no ground at first; what is nearer to the guessed ground is, later.
# Where a paint is nearer than this to the ground, it cannot be told from it.
NEAR_PAINT, OFF_GROUND = 30.0, 60.0
# Blurs, as shares of the shorter side, that fill in the ground, and how much each counts.
FILLING = ((0.05, 1.0), (0.12, 1e-2), (0.4, 1e-5))
# The least share of a picture that has to be ground.
LEAST_GROUND = 0.25
# How far a covered pixel may be from its paint over the ground, in levels.
MOST_UNLIKE = 75.0
# Pixels around a component where a blurred edge may still be, and the blurs that are tried.
MARGIN = 2
BLURS = (0.7, 1.1)
RADII = (0.07, 0.3)
# Half a diamond overlaps a diamond by 0.70; rings at 64 pixels, blurred, by 0.76 and more.
LEAST_OVERLAP = 0.72
SECOND_PAINT = 0.3
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
    ground_HWC = _ground(pixels_HWC)
    if ground_HWC is None:
        return []
    share_HW, paint_HW = _explained(pixels_HWC, ground_HWC)
    found = []
    labels_HW = components(share_HW > 0.5)
    for mask_HW in _pieces(labels_HW, paint_HW):
        color = int(np.bincount(paint_HW[mask_HW]).argmax())
        one = _named(mask_HW, _coverage(pixels_HWC, ground_HWC, PAINTS_PC[color]), NAMES[color])
        found += [one] if one else []
    return sorted(found, key=lambda f: (_cell(f.y), _cell(f.x), f.y, f.x))


def _pixels(image: Image.Image | Array) -> Array:
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


def _ground(pixels_HWC: Array) -> Array | None:
    """The colour of the ground under every pixel; None if too little of the picture is ground."""
    height, width = pixels_HWC.shape[:2]
    edge = max(1, min(height, width) // 20)
    inner = np.zeros((height, width), dtype=bool)
    inner[edge:-edge, edge:-edge] = True
    middle_C = np.median(pixels_HWC[~inner], axis=0)
    off_HWC = pixels_HWC - middle_C
    shade_HW = off_HWC.mean(-1)
    far_HW = np.linalg.norm(off_HWC - shade_HW[..., None], axis=-1)
    is_ground_HW = (far_HW < OFF_SHADE) & (np.abs(shade_HW) < DARKEST)
    others_PC = PAINTS_PC[np.linalg.norm(PAINTS_PC - middle_C, axis=-1) > NEAR_PAINT]
    paint_off_HWP = ((pixels_HWC[:, :, None] - others_PC) ** 2).sum(-1)
    is_ground_HW &= paint_off_HWP.min(-1) > NEAR_PAINT**2
    for _ in range(2):
        if is_ground_HW.mean() < LEAST_GROUND:
            return None
        ground_HWC = _filled(pixels_HWC, is_ground_HW)
        share_HW, _ = _explained(pixels_HWC, ground_HWC)
        off_HW = np.linalg.norm(pixels_HWC - ground_HWC, axis=-1)
        is_ground_HW = (share_HW < 0.35) & (off_HW < OFF_GROUND)
    return _filled(pixels_HWC, is_ground_HW)


def _filled(pixels_HWC: Array, known_HW: Array) -> Array:
    """Smooths the known pixels and fills in the others from those around them."""
    weights_HW1 = known_HW[..., None].astype(np.float32)
    weighted_HWC = np.concatenate([pixels_HWC * weights_HW1, weights_HW1], axis=-1)
    # The wider blurs count only where the narrower ones see nothing.
    total_HWC: Array = np.zeros_like(weighted_HWC)
    for sigma, trust in FILLING:
        total_HWC += trust * _blurred(weighted_HWC, sigma * min(known_HW.shape))
    return np.asarray(total_HWC[..., :3] / (total_HWC[..., 3:] + 1e-9))


@functools.lru_cache(maxsize=32)
def _blur_matrix(size: int, sigma: float) -> Array:
    """Size x size: a normal blur, cut off at the ends."""
    n = np.arange(size, dtype=np.float32)
    return np.exp(-((n[:, None] - n[None]) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))


def _blurred(values_HWC: Array, sigma: float) -> Array:
    """A normal blur, that of each channel by itself: small products start no BLAS threads."""
    height, width = values_HWC.shape[:2]
    values_CHW = values_HWC.transpose(2, 0, 1)
    blurred_CHW = _blur_matrix(height, sigma) @ values_CHW @ _blur_matrix(width, sigma)
    return np.asarray(blurred_CHW.transpose(1, 2, 0))


def _explained(pixels_HWC: Array, ground_HWC: Array) -> tuple[Array, Array]:
    """The paint that explains each pixel best over the ground, and its share there.

    Returns:
        Shares of shape (H, W), 0 to 1, and numbers into `NAMES` of shape (H, W).
    """
    off_NC = (pixels_HWC - ground_HWC).reshape(-1, 3)
    ground_NC = ground_HWC.reshape(-1, 3)
    # |off - share (paint - ground)|^2, multiplied out so that no (H, W, P, C) array is needed.
    length_NP = (PAINTS_PC**2).sum(-1) - 2 * ground_NC @ PAINTS_PC.T
    length_NP += (ground_NC**2).sum(-1, keepdims=True)
    told_apart_NP = length_NP > NEAR_PAINT**2
    along_NP = off_NC @ PAINTS_PC.T - (off_NC * ground_NC).sum(-1, keepdims=True)
    share_NP = np.clip(along_NP / np.maximum(length_NP, 1), 0, 1) * told_apart_NP
    rest_NP = share_NP * (share_NP * length_NP - 2 * along_NP)
    paint_N = rest_NP.argmin(-1)
    at = np.arange(len(paint_N)), paint_N
    near_N = (off_NC**2).sum(-1) + rest_NP[at] < MOST_UNLIKE**2
    shape = pixels_HWC.shape[:2]
    return np.where(near_N, share_NP[at], 0).reshape(shape), paint_N.reshape(shape)


def _coverage(pixels_HWC: Array, ground_HWC: Array, paint_C: Array) -> Array:
    """The share of one paint over the ground, 0 to 1."""
    span_HWC = paint_C - ground_HWC
    share_HW = ((pixels_HWC - ground_HWC) * span_HWC).sum(-1) / ((span_HWC**2).sum(-1) + 1e-6)
    return np.asarray(np.clip(share_HW, 0, 1))


def components(mask_HW: Array) -> Array:
    """Numbers the parts of a mask that hang together (side by side, not corner to corner).

    Args:
        mask_HW: Booleans of shape (H, W).

    Returns:
        Integers of shape (H, W): 0 outside, 1 and up inside.
    """
    height, width = mask_HW.shape
    cells = np.arange(height * width).reshape(height, width)
    across, down = mask_HW[:, 1:] & mask_HW[:, :-1], mask_HW[1:] & mask_HW[:-1]
    one = np.concatenate([cells[:, 1:][across], cells[1:][down]])
    other = np.concatenate([cells[:, :-1][across], cells[:-1][down]])
    root = cells.ravel().copy()
    while True:
        a, b = root[one], root[other]
        if (a == b).all():
            break
        # Each root goes under the least root that it touches; then all chains are shortened.
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while (root[root] != root).any():
            root = root[root]
    labels = np.zeros(height * width, dtype=np.int64)
    inside = mask_HW.ravel()
    labels[inside] = np.unique(root[inside], return_inverse=True)[1] + 1
    return labels.reshape(height, width)


def _pieces(labels_HW: Array, paint_HW: Array) -> list[Array]:
    """A mask for each component, or for each paint of those with much of a second one."""
    masks = []
    least = _least_pixels(labels_HW.shape)
    for number in np.flatnonzero(np.bincount(labels_HW.ravel()) >= least):
        if number == 0:
            continue
        mask_HW = labels_HW == number
        counts = np.bincount(paint_HW[mask_HW], minlength=len(NAMES))
        if np.sort(counts)[-2] < SECOND_PAINT * counts.sum():
            masks.append(mask_HW)
            continue
        for paint in np.flatnonzero(counts >= least):
            part_HW = components(mask_HW & (paint_HW == paint))
            sizes = np.bincount(part_HW.ravel())
            masks += [part_HW == n for n in range(1, len(sizes)) if sizes[n] >= least]
    return masks


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
    area = float(cover.sum())
    center_x, center_y = float((cover * x).sum() / area), float((cover * y).sum() / area)
    best: tuple[float, str, float, float] = (0.0, "", 0.0, 0.0)
    for kind, distance in DISTANCES.items():
        unit, below = _moments(kind)
        radius = (area / unit) ** 0.5
        middle = center_y - below * radius
        sharp = np.clip(0.5 - distance(x - center_x, y - middle, radius), 0, 1)
        for ideal in (sharp, *(_blurred(sharp[..., None], sigma)[..., 0] for sigma in BLURS)):
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


@dataclass(frozen=True)
class ImageScore:
    """Counts over one picture, or over many added up (`sum(scores, ImageScore())`).

    Attributes:
        images: How many.
        objects: Objects that should be there.
        found: Objects found, right or not.
        right: Objects found with the kind and colour of one that should be there.
        placed: Right objects that are in their place too.
        images_right: Pictures with every object right and no other found.
        images_placed: Right pictures with every object in its place.
    """

    images: int = 0
    objects: int = 0
    found: int = 0
    right: int = 0
    placed: int = 0
    images_right: int = 0
    images_placed: int = 0

    def __add__(self, other: "ImageScore") -> "ImageScore":
        return ImageScore(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(ImageScore))
        )

    @property
    def missing(self) -> int:
        """Objects that should be there and are not found."""
        return self.objects - self.right

    @property
    def invented(self) -> int:
        """Objects found that should not be there."""
        return self.found - self.right

    @property
    def right_share(self) -> float:
        """Share of the objects that should be there that are right, 0 to 1."""
        return self.right / self.objects if self.objects else 0.0

    @property
    def placed_share(self) -> float:
        """Share of the objects that should be there that are right and in place, 0 to 1."""
        return self.placed / self.objects if self.objects else 0.0

    @property
    def images_right_share(self) -> float:
        """Share of the pictures with every object right and no other, 0 to 1."""
        return self.images_right / self.images if self.images else 0.0

    @property
    def images_placed_share(self) -> float:
        """Share of the pictures with every object right, in its place, and no other, 0 to 1."""
        return self.images_placed / self.images if self.images else 0.0


def score_image(image: Image.Image | Array, scene: Scene) -> ImageScore:
    """Scores a picture against the scene that it should show.

    Args:
        image: What `find_objects` takes.
        scene: The truth.

    Returns:
        The counts for this one picture. A recoloured object is one missing and one invented.

    Raises:
        ValueError: The array has another shape or type.
    """
    found = find_objects(image)
    true_names = Counter((s.kind, s.color) for s in scene.shapes)
    right = (true_names & Counter((f.kind, f.color) for f in found)).total()
    true_places = Counter((s.kind, s.color, s.place) for s in scene.shapes)
    placed = (true_places & Counter((f.kind, f.color, f.place) for f in found)).total()
    count = len(scene.shapes)
    return ImageScore(
        images=1,
        objects=count,
        found=len(found),
        right=right,
        placed=placed,
        images_right=int(right == count == len(found)),
        images_placed=int(placed == count == len(found)),
    )
