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
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup
from nucleus_data.signals.kernels import channel_range_sum, histogram_sums, level_counts

_DARK = 16  # luma below it is dark, as in video's "legal" range
_BRIGHT = 240  # luma at or above it is bright


def luma_counts(picture: Picture) -> NDArray[np.int64]:
    """How many pixels of the small view have each luma; through `Picture.once`, groups share it."""
    return level_counts(picture.luma_small)


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    counts = picture.once(luma_counts)
    n, total, squares, entropy = histogram_sums(counts)
    return {
        "luma_mean": total / n,
        "luma_std": math.sqrt(n * squares - total * total) / n,
        "dark_share": sum(counts[:_DARK].tolist()) / n,
        "bright_share": sum(counts[_BRIGHT:].tolist()) / n,
        "entropy": entropy,
        "saturation": channel_range_sum(picture.small) / (255 * n),
    }


group = SignalGroup(
    name="tone",
    version=2,
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
