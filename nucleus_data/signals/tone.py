"""Signals of brightness, contrast and saturation, from the small view.

| column | range | meaning |
|---|---|---|
| luma_mean | 0..255 | mean BT.601 luma |
| luma_std | 0..127.5 | standard deviation of luma: 0 for a solid picture |
| dark_share | 0..1 | share of pixels with luma below 16 |
| bright_share | 0..1 | share of pixels with luma above 239 |
| clipped_share | 0..1 | share of pixels with a channel of 250 or more, as after over-exposure |
| entropy | 0..8 bits | Shannon entropy of the 256-bin luma histogram |
| saturation | 0..1 | mean of (max(R, G, B) - min(R, G, B)) / 255: grey 0, pure colours 1 |

`saturation` is HSV's chroma instead of its S, for which almost-black noise is fully saturated. All
sums are of integers, so values are the same on every machine.
"""

import math
from typing import Any

import pyarrow as pa

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """Computes the columns of the table above for one picture."""
    from nucleus_data.signals.small import sums_of  # imported here, as it imports numba

    sums = picture.once(sums_of)
    n, total = sums.pixels, sums.luma
    return {
        "luma_mean": total / n,
        "luma_std": math.sqrt(n * sums.luma_2 - total * total) / n,
        "dark_share": sums.dark / n,
        "bright_share": sums.bright / n,
        "clipped_share": sums.clipped / n,
        "entropy": sums.entropy,
        "saturation": sums.ranges / (255 * n),
    }


group = SignalGroup(
    name="tone",
    version=4,
    schema=pa.schema(
        [
            ("luma_mean", pa.float32()),
            ("luma_std", pa.float32()),
            ("dark_share", pa.float32()),
            ("bright_share", pa.float32()),
            ("clipped_share", pa.float32()),
            ("entropy", pa.float32()),
            ("saturation", pa.float32()),
        ]
    ),
    measure=measure,
)
