"""Segments a picture of the world into its ground, its paints, and components that hang together.

1. The ground is the border's colour, shaded: a first guess takes in every pixel on the line of
   shades through it, a second one what no paint explains. It is smoothed and filled in under the
   shapes.
2. Every pixel is explained as a share of one of the eight paints over the ground beneath it. The
   paint with the least rest names it, the share is its coverage; edges, blurred or not, are halves
   of a paint and no colours of their own.
3. Covered pixels that touch make a component; one with much of a second paint is taken apart by
   paint.

Shapes of arrays: H and W are the picture's sides, C its three channels (0 to 255), P the paints, N
all pixels in a row.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleus_data.world.scenes import COLORS

Array = NDArray[Any]

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
# The share of a component's pixels from which on a second paint is a shape of its own.
SECOND_PAINT = 0.3


def estimate_ground(pixels_HWC: Array) -> Array | None:
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
    # The first guess is by the border's one colour; what is filled in from it follows the light, so
    # that a second guess by it takes in what was too far from that colour.
    for _ in range(2):
        if is_ground_HW.mean() < LEAST_GROUND:
            return None
        ground_HWC = _filled(pixels_HWC, is_ground_HW)
        share_HW, _ = explain(pixels_HWC, ground_HWC)
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
        total_HWC += trust * blurred(weighted_HWC, sigma * min(known_HW.shape))
    return np.asarray(total_HWC[..., :3] / (total_HWC[..., 3:] + 1e-9))


@functools.lru_cache(maxsize=32)
def _blur_matrix(size: int, sigma: float) -> Array:
    """Size x size: a normal blur, cut off at the ends."""
    n = np.arange(size, dtype=np.float32)
    return np.exp(-((n[:, None] - n[None]) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))


def blurred(values_HWC: Array, sigma: float) -> Array:
    """A normal blur, that of each channel by itself: small products start no BLAS threads."""
    height, width = values_HWC.shape[:2]
    values_CHW = values_HWC.transpose(2, 0, 1)
    blurred_CHW = _blur_matrix(height, sigma) @ values_CHW @ _blur_matrix(width, sigma)
    return np.asarray(blurred_CHW.transpose(1, 2, 0))


def explain(pixels_HWC: Array, ground_HWC: Array) -> tuple[Array, Array]:
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


def coverage(pixels_HWC: Array, ground_HWC: Array, paint_C: Array) -> Array:
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


def pieces(labels_HW: Array, paint_HW: Array, least: float) -> list[Array]:
    """A mask for each component, or for each paint of those with much of a second one.

    Args:
        labels_HW: As `components` numbers them.
        paint_HW: Numbers into `NAMES`.
        least: What has fewer pixels is left out.
    """
    masks = []
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
