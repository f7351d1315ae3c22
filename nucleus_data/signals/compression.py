"""Strength of compression, from the file's header and from visible artifacts.

| column | range | meaning |
|---|---|---|
| jpeg_quality | 1..100 | quality of the IJG table nearest to the JPEG's own; null for others |
| blockiness | 0..100 | steps at the borders of 8 x 8 blocks over those inside, minus 1 |
| bytes_over_expected | 0.. | size of the file over the expected size at JPEG quality 75 |

`jpeg_quality` (header): the least-squares match of the logarithms of the luma table with those of
libjpeg's hundred tables (ITU-T T.81, annex K.1, scaled as in IJG's `jpeg_quality_scaling`). Cameras
and Photoshop use other tables, for which the value is that of the nearest.

`blockiness` (luma_full; after Wang, Bovik and Evans 2000, "Blind measurement of blocking artifacts
in images", in the spatial domain): the mean step between neighbours at each of the eight positions
modulo 8, in both directions; the largest over the median of the others. So a grid that is shifted
by cropping, or is below a later re-encoding in any format, is detected as well. Steps are limited
to 32 levels.

`bytes_over_expected` (luma_full): up to 8x8 evenly spread tiles of 16x16 pixels, at the picture's
own scale, are encoded as grey JPEG of quality 75. (For a photograph of 0.2 megapixels, the estimate
is within about 8 % of the size for all pixels; for one of 2 megapixels, within 13 %.) The size of
the file includes metadata; the expected size does not include colour.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup

_STEADY = 0.5  # levels, added to both means to avoid division by zero in flat pictures
_EXPECTED_QUALITY = 75
_SAMPLE, _SAMPLES_A_SIDE = 16, 8  # pixels per side of a tile, tiles per side of a picture
# libjpeg's luma table at quality 50, in zigzag order as in files.
_ZIGZAG_50 = (
    "16 11 12 14 12 10 16 14 13 14 18 17 16 19 24 40 26 24 22 22 24 49 35 37 29 40 58 51 61 60 57 "
    "51 56 55 64 72 92 78 64 68 87 69 55 56 80 109 81 87 95 98 103 104 103 62 77 113 121 112 100 "
    "120 92 101 103 99"
)


@lru_cache(maxsize=1)
def _standard() -> NDArray[np.float64]:
    """Returns the logarithms of libjpeg's luma tables for qualities 1 to 100, float64[100, 64]."""
    base = np.array(_ZIGZAG_50.split(), dtype=np.int64)
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.log(np.clip((base * scale + 50) // 100, 1, 255))


@lru_cache(maxsize=256)  # most files are written by a few programs
def jpeg_quality(table: bytes) -> int:
    """Returns the quality of the IJG table that is nearest to a quantisation table.

    Args:
        table: 64 factors of one or two bytes, in zigzag order, as in `Header.quantisation`.

    Returns:
        1 to 100; the highest if several are equally near.
    """
    factors = np.frombuffer(table, "u1" if len(table) == 64 else ">u2")
    distance = ((_standard() - np.log(np.maximum(factors, 1))) ** 2).sum(axis=1)
    return 100 - int(np.argmin(distance[::-1]))


def blockiness(luma_HW: NDArray[np.uint8]) -> float:
    """Returns how far steps at the borders of 8 x 8 blocks exceed others, over both directions.

    Args:
        luma_HW: uint8[H, W].

    Returns:
        0 for equal steps, and for sides below 24 pixels.
    """
    from nucleus_data.signals.kernels import BLOCK, standing_out  # here: imports numba

    if min(luma_HW.shape) < 3 * BLOCK:
        return 0.0
    return float(standing_out(np.ascontiguousarray(luma_HW), _STEADY))


def expected_bytes_per_pixel(luma_HW: NDArray[np.uint8]) -> float:
    """Returns bytes per pixel of sample tiles as a grey JPEG of quality 75, without its header.

    Args:
        luma_HW: uint8[H, W].

    Returns:
        A number above 0.
    """
    from nucleus_data.signals.tiles import mosaic  # imported here, as it imports numba

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
    """Computes the columns of the table above for one picture."""
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
