"""Brightness, contrast and colour, from the small view.

| column | range | meaning |
|---|---|---|
| luma_mean | 0..255 | mean BT.601 luma |
| luma_std | 0..127.5 | its standard deviation: 0 for a solid picture |
| dark_share | 0..1 | share of pixels with luma below 16 |
| bright_share | 0..1 | share of pixels with luma above 239 |
| entropy | 0..8 bits | Shannon entropy of the 256-bin luma histogram |
| saturation | 0..1 | mean of (max(R, G, B) - min(R, G, B)) / 255: grey 0, pure colours 1 |

`saturation` is HSV's chroma and not its S, which calls almost-black noise fully saturated. All sums
are over integers, so that values are the same on every machine.
"""

import math
from typing import Any

import numpy as np
import pyarrow as pa

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_DARK = 16  # luma below it is dark, as in video's "legal" range
_BRIGHT = 240  # luma at or above it is bright


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    counts = np.bincount(picture.luma_small.reshape(-1), minlength=256).tolist()
    n = sum(counts)
    total = sum(value * count for value, count in enumerate(counts))
    squares = sum(value * value * count for value, count in enumerate(counts))
    small = picture.small
    red, green, blue = small[..., 0], small[..., 1], small[..., 2]
    high = np.maximum(np.maximum(red, green), blue)
    low = np.minimum(np.minimum(red, green), blue)
    chroma = int((high - low).sum(dtype=np.int64))
    return {
        "luma_mean": total / n,
        "luma_std": math.sqrt(n * squares - total * total) / n,
        "dark_share": sum(counts[:_DARK]) / n,
        "bright_share": sum(counts[_BRIGHT:]) / n,
        "entropy": math.fsum(c / n * math.log2(n / c) for c in counts if c),
        "saturation": chroma / (255 * n),
    }


group = SignalGroup(
    name="tone",
    version=1,
    schema=pa.schema(
        [
            ("luma_mean", pa.float32()),
            ("luma_std", pa.float32()),
            ("dark_share", pa.float32()),
            ("bright_share", pa.float32()),
            ("entropy", pa.float32()),
            ("saturation", pa.float32()),
        ]
    ),
    measure=measure,
)
