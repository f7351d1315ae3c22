"""Aspect buckets: target sizes at every resolution, which one a picture belongs to, and its crop.

Seven buckets have the sampler's sizes at 1024; other resolutions scale them to the nearest
multiple. The forty are by rule: ratios 4^(-i/20) and 4^(i/19) around 1, sides of the same area as
the square's.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZES_1024 = {
    "1x1": (1024, 1024),
    "16x9": (1344, 768),
    "9x16": (768, 1344),
    "4x3": (1184, 896),
    "3x4": (896, 1184),
    "3x2": (1248, 832),
    "2x3": (832, 1248),
}
SEVEN = tuple(SIZES_1024)
_RATIOS = [*(4 ** (-i / 20) for i in range(20, 0, -1)), 1.0, *(4 ** (i / 19) for i in range(1, 20))]
FORTY = {f"{ratio:.2f}": ratio for ratio in _RATIOS}
NAMED = {"seven": SEVEN, "forty": tuple(FORTY)}

Ints = NDArray[np.int64]


def bucket_size(resolution: int, aspect: str, multiple: int) -> tuple[int, int]:
    """Target width and height in pixels of an aspect bucket.

    Args:
        resolution: Side of the square bucket, for example 256.
        aspect: A key of `SIZES_1024` or `FORTY`.
        multiple: Sides are multiples of it (VAE factor times patch size).
    """
    if aspect in FORTY:
        side = resolution * math.sqrt(FORTY[aspect]), resolution / math.sqrt(FORTY[aspect])
    else:
        width, height = SIZES_1024[aspect]
        if resolution == 1024 and width % multiple == 0 and height % multiple == 0:
            return width, height
        side = width * resolution / 1024, height * resolution / 1024
    found = [max(1, round(length / multiple)) * multiple for length in side]
    return found[0], found[1]


def nearest(width: NDArray[Any], height: NDArray[Any], sizes: Sequence[tuple[int, int]]) -> Ints:
    """The bucket of each picture: the one whose aspect ratio is nearest (in log space).

    Args:
        width: Of N pictures, in pixels.
        height: Of N pictures, in pixels.
        sizes: Target sizes of the buckets; of those with one ratio, the first is taken.

    Returns:
        N numbers of buckets, from 0. No picture is without one.
    """
    ratios = np.log([w / h for w, h in sizes])
    ordered, first = np.unique(ratios, return_index=True)
    borders = (ordered[1:] + ordered[:-1]) / 2
    found = np.searchsorted(borders, np.log(width / height), side="right")
    numbers: Ints = first[found]
    return numbers


def crops(
    width: NDArray[Any],
    height: NDArray[Any],
    target: tuple[NDArray[Any], NDArray[Any]],
    place: tuple[Any, Any] = (0.5, 0.5),
) -> Ints:
    """The largest box of the target's aspect ratio in each picture.

    Args:
        width: Of N pictures, in pixels.
        height: Of N pictures, in pixels.
        target: Width and height of the bucket of each.
        place: Where the box lies along each axis, 0 to 1: a half is the centre.

    Returns:
        N x 4: left, top, right, bottom, in pixels of the picture.
    """
    ratio = target[0] / target[1]
    box_width = np.minimum(width, np.maximum(1, np.rint(height * ratio))).astype(np.int64)
    box_height = np.minimum(height, np.maximum(1, np.rint(width / ratio))).astype(np.int64)
    # A half rounds down, so that the box is in the centre or a pixel left of it.
    left = np.minimum(width - box_width, np.floor((width - box_width) * place[0]))
    top = np.minimum(height - box_height, np.floor((height - box_height) * place[1]))
    return np.stack([left, top, left + box_width, top + box_height], axis=1).astype(np.int64)


def sizes_at(resolution: int, aspects: Sequence[str], multiple: int) -> Mapping[str, Any]:
    """Target size of each aspect bucket at a resolution."""
    return {aspect: bucket_size(resolution, aspect, multiple) for aspect in aspects}
