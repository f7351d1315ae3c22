"""Aspect buckets: target sizes at every resolution, and which one a picture belongs to.

The sizes at 1024 are the sampler's; other resolutions scale them to the nearest multiple.
"""

import math
from itertools import pairwise

SIZES_1024 = {
    "1x1": (1024, 1024),
    "16x9": (1344, 768),
    "9x16": (768, 1344),
    "4x3": (1184, 896),
    "3x4": (896, 1184),
    "3x2": (1248, 832),
    "2x3": (832, 1248),
}


def bucket_size(resolution: int, aspect: str, multiple: int) -> tuple[int, int]:
    """Target width and height in pixels of an aspect bucket.

    Args:
        resolution: Side of the square bucket, for example 256.
        aspect: A key of `SIZES_1024`.
        multiple: Sides are multiples of it (VAE factor times patch size).
    """
    width, height = SIZES_1024[aspect]
    if resolution == 1024 and width % multiple == 0 and height % multiple == 0:
        return width, height
    scale = resolution / 1024 / multiple
    return max(1, round(width * scale)) * multiple, max(1, round(height * scale)) * multiple


def aspect_sql(aspects: tuple[str, ...], width: str = "width", height: str = "height") -> str:
    """SQL that names the bucket whose aspect ratio is nearest (in log space).

    No picture is without one.
    """
    ratios = {a: math.log(SIZES_1024[a][0] / SIZES_1024[a][1]) for a in aspects}
    ordered = sorted(ratios, key=lambda a: ratios[a])
    cases = []
    for one, other in pairwise(ordered):
        border = math.exp((ratios[one] + ratios[other]) / 2)
        cases.append(f"WHEN CAST({width} AS DOUBLE) / {height} < {border!r} THEN '{one}'")
    return f"CASE {' '.join(cases)} ELSE '{ordered[-1]}' END" if cases else f"'{ordered[0]}'"


def centre_crop(width: int, height: int, target: tuple[int, int]) -> list[int]:
    """The largest centred box of the target's aspect ratio.

    Returns:
        Left, top, right, bottom, in pixels of the picture.
    """
    ratio = target[0] / target[1]
    box_width = min(width, max(1, round(height * ratio)))
    box_height = min(height, max(1, round(width / ratio)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return [left, top, left + box_width, top + box_height]
