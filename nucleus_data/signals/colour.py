"""Colour and exposure, from histograms of the small view.

| column | range | meaning |
|---|---|---|
| luma_p1, luma_p99 | 0..255 | luma that 1 % (99 %) of the pixels do not exceed |
| cast | 0..1 | how far the mean colour is from grey: 0 none, pure blue 1 |
| cast_factor | 0..100 | that over the spread of colours: above about 3, one tint lies over all |
| colourfulness | 0..190 | 0 grey, 33 moderate, 59 quite, above 109 extremely colourful |
| grey_share | 0..1 | share of pixels whose channels are less than 12 levels apart |
| dominant_share | 0..1 | share of pixels in the commonest cube of 16 levels a side |

`colourfulness`: Hasler and Suesstrunk 2003, "Measuring colourfulness in natural images", on the
axes R - G and (R + G)/2 - B. `cast` and `cast_factor` take the mean and the spread on the same axes
(after Gasparini and Schettini 2004, "Color balancing of digital photos using simple image
statistics", who use CIELAB): a picture of one thing of one colour has a cast without a fault.
`dominant_share` takes the better of two grids of cubes, so that a colour near a border of one is
not split. All sums are over integers: values are the same on every machine.
"""

import math
from typing import Any

import pyarrow as pa

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_MOST = 100.0


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    from nucleus_data.signals.small import sums_of  # not without need: numba

    found = picture.once(sums_of)
    n, first, second = found.pixels, found.first, found.second
    # The second axis is summed as R + G - 2 B, twice as long.
    distance = math.hypot(first / n, second / n / 2)
    spread = math.sqrt(
        (n * found.first_2 - first * first) / n**2
        + (n * found.second_2 - second * second) / n**2 / 4
    )
    return {
        "luma_p1": found.luma_p1,
        "luma_p99": found.luma_p99,
        "cast": min(1.0, distance / 255),
        "cast_factor": min(_MOST, distance / max(spread, 1e-9)),
        "colourfulness": spread + 0.3 * distance,
        "grey_share": found.grey / n,
        "dominant_share": found.commonest / n,
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
