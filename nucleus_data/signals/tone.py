"""Brightness, contrast and colour, from the small view.

| column | range | meaning |
|---|---|---|
| luma_mean | 0..255 | mean BT.601 luma |
| luma_std | 0..127.5 | its standard deviation: 0 for a solid picture |
| dark_share | 0..1 | share of pixels with luma below 16 |
| bright_share | 0..1 | share of pixels with luma above 239 |
| clipped_share | 0..1 | share of pixels with a channel of 250 or more, as over-exposure leaves |
| entropy | 0..8 bits | Shannon entropy of the 256-bin luma histogram |
| saturation | 0..1 | mean of (max(R, G, B) - min(R, G, B)) / 255: grey 0, pure colours 1 |

`saturation` is HSV's chroma and not its S, which calls almost-black noise fully saturated. All sums
are over integers, so that values are the same on every machine.
"""

import math
from typing import Any

import pyarrow as pa

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    from nucleus_data.signals.small import sums_of  # not without need: numba

    found = picture.once(sums_of)
    n, total = found.pixels, found.luma
    return {
        "luma_mean": total / n,
        "luma_std": math.sqrt(n * found.luma_2 - total * total) / n,
        "dark_share": found.dark / n,
        "bright_share": found.bright / n,
        "clipped_share": found.clipped / n,
        "entropy": found.entropy,
        "saturation": found.ranges / (255 * n),
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
