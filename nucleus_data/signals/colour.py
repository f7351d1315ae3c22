"""Signals of colour and exposure, from histograms of the small view.

| column | range | meaning |
|---|---|---|
| luma_p1, luma_p99 | 0..255 | 1st and 99th percentiles of luma |
| cast | 0..1 | distance of the mean colour from grey: 0 for grey, 1 for pure blue |
| cast_factor | 0..100 | that distance over the spread of colours; above about 3: a tint over all |
| colourfulness | 0..190 | 0 grey, 33 moderate, 59 quite, above 109 extremely colourful |
| grey_share | 0..1 | share of pixels whose channels differ by less than 12 levels |
| dominant_share | 0..1 | share of pixels in the most frequent cube of 16 levels per side |

`colourfulness` is from Hasler and Suesstrunk 2003, "Measuring colourfulness in natural images", on
the axes R - G and (R + G)/2 - B. `cast` and `cast_factor` use the mean and the spread on the same
axes (after Gasparini and Schettini 2004, "Color balancing of digital photos using simple image
statistics", who use CIELAB). A picture of a single object of one colour has a high cast without
being defective. `dominant_share` is the larger value of two grids of cubes, so that a colour near
the border of a cube is not split. All sums are of integers, so values are the same on every
machine.
"""

import math
from typing import Any

import pyarrow as pa

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_MOST = 100.0


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """Computes the columns of the table above for one picture."""
    from nucleus_data.signals.small import sums_of  # imported here, as it imports numba

    sums = picture.once(sums_of)
    n, first, second = sums.pixels, sums.first, sums.second
    # The second axis is summed as R + G - 2 B, which is twice as long.
    distance = math.hypot(first / n, second / n / 2)
    spread = math.sqrt(
        (n * sums.first_2 - first * first) / n**2 + (n * sums.second_2 - second * second) / n**2 / 4
    )
    return {
        "luma_p1": sums.luma_p1,
        "luma_p99": sums.luma_p99,
        "cast": min(1.0, distance / 255),
        "cast_factor": min(_MOST, distance / max(spread, 1e-9)),
        "colourfulness": spread + 0.3 * distance,
        "grey_share": sums.grey / n,
        "dominant_share": sums.commonest / n,
    }


group = SignalGroup(
    name="colour",
    version=3,
    schema=pa.schema(
        [
            ("luma_p1", pa.uint8()),
            ("luma_p99", pa.uint8()),
            ("cast", pa.float32()),
            ("cast_factor", pa.float32()),
            ("colourfulness", pa.float32()),
            ("grey_share", pa.float32()),
            ("dominant_share", pa.float32()),
        ]
    ),
    measure=measure,
)
