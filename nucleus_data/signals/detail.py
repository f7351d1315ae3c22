"""Sharpness, from luma at full size (a scaled view would hide the blur).

`laplacian_variance` (0 to 1,040,400): variance of the 4-neighbour Laplacian over the inner pixels
(Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy"). It equals
`cv2.Laplacian(luma, CV_64F).var()`, except for the border. It is 0 for one colour, and lowered by
blur and by enlarging.

`high_frequency_share` (0 to 1): share of the spectral power, without the mean, above 0.25 cycles
per pixel (half the Nyquist frequency). White noise has 0.80; blurred or enlarged pictures have
almost 0.

The spectrum is the sum of the power spectra of up to 4x4 evenly spread tiles of 64x64 pixels, each
with a Hann window. So the scale is that of the pixels, however large the picture, at a fixed cost.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

if TYPE_CHECKING:
    from nucleus_data.signals.bands import Bands

_NOTHING = 1e-6  # levels^2 per pixel; below it, the power is due to rounding


def laplacian_variance(luma_HW: NDArray[np.uint8]) -> float:
    """Returns the variance of the 4-neighbour Laplacian over inner pixels.

    The Laplacian is L[y, x] = I[y-1, x] + I[y+1, x] + I[y, x-1] + I[y, x+1] - 4 I[y, x].

    Args:
        luma_HW: uint8[H, W].

    Returns:
        The variance; 0 for pictures without inner pixels.
    """
    from nucleus_data.signals.kernels import laplacian_sums  # imported here, as it imports numba

    height, width = luma_HW.shape
    if height < 3 or width < 3:
        return 0.0
    total, squares = laplacian_sums(np.ascontiguousarray(luma_HW))
    n = (height - 2) * (width - 2)
    return (n * squares - total * total) / (n * n)


def high_frequency_share(found: "Bands") -> float:
    """Returns the share of spectral power above 0.25 cycles per pixel.

    Returns:
        0 to 1; 0 for a picture of one colour.
    """
    if found.everything <= _NOTHING:
        return 0.0
    return min(1.0, found.high / found.everything)


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """Computes the columns of the group for one picture."""
    from nucleus_data.signals.bands import bands_of  # imported here, as it imports numba

    return {
        "laplacian_variance": laplacian_variance(picture.luma_full),
        "high_frequency_share": high_frequency_share(picture.once(bands_of)),
    }


group = SignalGroup(
    name="detail",
    version=4,
    schema=pa.schema(
        [("laplacian_variance", pa.float32()), ("high_frequency_share", pa.float32())]
    ),
    measure=measure,
)
