"""Aspect buckets: their target sizes at each resolution, the assignment of pictures, and crops.

There are two families. The `seven` buckets have the sampler's sizes at resolution 1024; at other
resolutions these are scaled, and rounded to the nearest multiple. The `forty` follow a rule: aspect
ratios 4^(-i/20) for i = 20..1, then 1, then 4^(i/19) for i = 1..19, each with the same area as the
square bucket.
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
    """Returns the target width and height of an aspect bucket, in pixels.

    Args:
        resolution: Side of the square bucket in pixels, for example 256.
        aspect: A key of `SIZES_1024` or `FORTY`.
        multiple: Both sides are rounded to multiples of it (VAE factor times patch size).
    """
    if aspect in FORTY:
        side = resolution * math.sqrt(FORTY[aspect]), resolution / math.sqrt(FORTY[aspect])
    else:
        width, height = SIZES_1024[aspect]
        if resolution == 1024 and width % multiple == 0 and height % multiple == 0:
            return width, height
        side = width * resolution / 1024, height * resolution / 1024
    rounded = [max(1, round(length / multiple)) * multiple for length in side]
    return rounded[0], rounded[1]


def nearest(width: NDArray[Any], height: NDArray[Any], sizes: Sequence[tuple[int, int]]) -> Ints:
    """Assigns each picture to the bucket with the nearest aspect ratio, in log space.

    Args:
        width: Widths of N pictures in pixels, shape [N].
        height: Heights of N pictures in pixels, shape [N].
        sizes: Target (width, height) of the buckets. Of buckets with the same aspect ratio, the
            first is taken.

    Returns:
        Index into `sizes` of each picture's bucket, int64[N]; every picture has one.
    """
    ratios = np.log([w / h for w, h in sizes])
    ordered, first = np.unique(ratios, return_index=True)
    borders = (ordered[1:] + ordered[:-1]) / 2
    places = np.searchsorted(borders, np.log(width / height), side="right")
    numbers: Ints = first[places]
    return numbers


def crops(
    width: NDArray[Any],
    height: NDArray[Any],
    target: tuple[NDArray[Any], NDArray[Any]],
    place: tuple[Any, Any] = (0.5, 0.5),
) -> Ints:
    """Computes the largest box in each picture that has the aspect ratio of its bucket.

    Args:
        width: Widths of N pictures in pixels, shape [N].
        height: Heights of N pictures in pixels, shape [N].
        target: Widths and heights of the pictures' buckets, two arrays of shape [N].
        place: Position of the box along the x and y axes, 0 to 1; 0.5 is the centre. Scalars or
            arrays of shape [N].

    Returns:
        Boxes (left, top, right, bottom) in pixels of the pictures, int64[N, 4].
    """
    ratio = target[0] / target[1]
    box_width = np.minimum(width, np.maximum(1, np.rint(height * ratio))).astype(np.int64)
    box_height = np.minimum(height, np.maximum(1, np.rint(width / ratio))).astype(np.int64)
    # Offsets are rounded down: a centred box is at most half a pixel left of or above the centre.
    left = np.minimum(width - box_width, np.floor((width - box_width) * place[0]))
    top = np.minimum(height - box_height, np.floor((height - box_height) * place[1]))
    return np.stack([left, top, left + box_width, top + box_height], axis=1).astype(np.int64)


def sizes_at(resolution: int, aspects: Sequence[str], multiple: int) -> Mapping[str, Any]:
    """Returns aspect -> target (width, height) in pixels, at a resolution; see `bucket_size`."""
    return {aspect: bucket_size(resolution, aspect, multiple) for aspect in aspects}
