"""How hard a picture was compressed: what its file says, and what is seen.

| column | range | meaning |
|---|---|---|
| jpeg_quality | 1..100 | quality of the IJG tables nearest to the JPEG's own; null for others |
| blockiness | 0..100 | steps at the borders of 8 x 8 blocks over those inside, minus 1 |
| bytes_over_expected | 0.. | bytes of the file over those its pixels would take at quality 75 |

`jpeg_quality` (header): least squares of the logarithms of the luma table against the hundred that
libjpeg makes (ITU-T T.81, annex K.1, scaled as in IJG's `jpeg_quality_scaling`); the tables of
cameras and of Photoshop are others, and get the nearest.

`blockiness` (luma_full; after Wang, Bovik and Evans 2000, "Blind measurement of blocking artifacts
in images", in the spatial domain): the mean step of neighbours at each of the eight places modulo
8, along and across; the largest over the median of the others. So a grid that a crop has moved, or
that lies under a later re-encoding in any format, is seen too. Steps count up to 32 levels.

`bytes_over_expected` (luma_full): up to 8x8 tiles of 16x16 pixels at the picture's own scale,
evenly spread, are encoded as grey JPEG of quality 75 (for a photograph of 0.2 megapixels that is
within some 8 %, for one of 2 within 13 %, of what all its pixels would take). Metadata counts as
bytes of the file; colour does not count among the expected ones.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_STEADY = 0.5  # levels added to both means, so that flat pictures do not divide by nothing
_EXPECTED_QUALITY = 75
_SAMPLE, _SAMPLES_A_SIDE = 16, 8  # pixels along the sides of a tile, tiles along those of a picture
# libjpeg's luma table at quality 50, in zigzag order as files have it.
_ZIGZAG_50 = (
    "16 11 12 14 12 10 16 14 13 14 18 17 16 19 24 40 26 24 22 22 24 49 35 37 29 40 58 51 61 60 57 "
    "51 56 55 64 72 92 78 64 68 87 69 55 56 80 109 81 87 95 98 103 104 103 62 77 113 121 112 100 "
    "120 92 101 103 99"
)


@lru_cache(maxsize=1)
def _standard() -> NDArray[np.float64]:
    """Logarithms of libjpeg's luma tables of the qualities 1 to 100, 100 x 64."""
    base = np.array(_ZIGZAG_50.split(), dtype=np.int64)
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.log(np.clip((base * scale + 50) // 100, 1, 255))


@lru_cache(maxsize=256)  # a few programs wrote most files
def jpeg_quality(table: bytes) -> int:
    """The quality whose table is nearest.

    Args:
        table: 64 factors of one or of two bytes, in zigzag order, as of `Header.quantisation`.

    Returns:
        1 to 100; of equally near ones the highest.
    """
    factors = np.frombuffer(table, "u1" if len(table) == 64 else ">u2")
    distance = ((_standard() - np.log(np.maximum(factors, 1))) ** 2).sum(axis=1)
    return 100 - int(np.argmin(distance[::-1]))


def blockiness(luma_HW: NDArray[np.uint8]) -> float:
    """How much steps at the borders of 8 x 8 blocks stand out, averaged over both directions.

    Args:
        luma_HW: 0..255.

    Returns:
        0 for even steps; 0 for sides below 24 pixels.
    """
    from nucleus_data.signals.kernels import BLOCK, standing_out  # not without need: numba

    if min(luma_HW.shape) < 3 * BLOCK:
        return 0.0
    return float(standing_out(np.ascontiguousarray(luma_HW), _STEADY))


def expected_bytes_per_pixel(luma_HW: NDArray[np.uint8]) -> float:
    """Bytes a pixel of a picture's sample tiles as a grey JPEG of quality 75, less its header.

    Args:
        luma_HW: 0..255.

    Returns:
        Above 0.
    """
    from nucleus_data.signals.tiles import mosaic  # not without need: numba

    tiles_HWC = mosaic(np.ascontiguousarray(luma_HW), _SAMPLE, _SAMPLES_A_SIDE)
    coded = len(_grey(tiles_HWC)) - _empty_bytes()
    return max(1, coded) / tiles_HWC.size


@lru_cache(maxsize=1)
def _empty_bytes() -> int:
    return len(_grey(np.full((8, 8, 1), 128, np.uint8))) - 1


def _grey(pixels_HWC: NDArray[np.uint8]) -> bytes:
    coded = simplejpeg.encode_jpeg(
        pixels_HWC, quality=_EXPECTED_QUALITY, colorspace="GRAY", colorsubsampling="Gray"
    )
    return bytes(coded)


def measure(picture: Picture, filename: str | None) -> dict[str, Any]:
    """The columns of the table above, for one picture."""
    table, luma = picture.header.quantisation, picture.luma_full
    expected = expected_bytes_per_pixel(luma) * luma.size
    return {
        "jpeg_quality": None if table is None else jpeg_quality(table),
        "blockiness": blockiness(luma),
        "bytes_over_expected": picture.header.bytes / expected,
    }


group = SignalGroup(
    name="compression",
    version=4,
    schema=pa.schema(
        [
            ("jpeg_quality", pa.int8()),
            ("blockiness", pa.float32()),
            ("bytes_over_expected", pa.float32()),
        ]
    ),
    measure=measure,
)
