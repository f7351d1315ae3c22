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

`bytes_over_expected` (luma_full): sample tiles at the picture's own scale are encoded as grey JPEG
of quality 75. Metadata counts as bytes of the file; colour does not count among the expected ones.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
from numpy.typing import NDArray

from nucleus_data.pixels import Picture
from nucleus_data.signals.group import SignalGroup
from nucleus_data.signals.kernels import step_sums
from nucleus_data.signals.tiles import tiles_of

_BLOCK = 8
_STEADY = 0.5  # levels added to both means, so that flat pictures do not divide by nothing
_EXPECTED_QUALITY = 75
# libjpeg's luma table at quality 50, in zigzag order as files have it.
_ZIGZAG_50 = (
    "16 11 12 14 12 10 16 14 13 14 18 17 16 19 24 40 26 24 22 22 24 49 35 37 29 40 58 51 61 60 57 "
    "51 56 55 64 72 92 78 64 68 87 69 55 56 80 109 81 87 95 98 103 104 103 62 77 113 121 112 100 "
    "120 92 101 103 99"
)
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_DQT, _SOS = 0xDB, 0xDA


def luma_table(data: bytes) -> NDArray[np.int64] | None:
    """A JPEG's quantisation table of the first component.

    Args:
        data: The file; nothing after the first scan's header is read.

    Returns:
        64 factors in zigzag order; None if there are none.
    """
    tables: dict[int, NDArray[np.int64]] = {}
    chosen = 0
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:  # stray bytes between segments
            at += 1
            continue
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x00 or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if marker == _DQT:
            tables |= _tables(body)
        elif marker in _SOF and len(body) >= 9:
            chosen = body[8]
        elif marker == _SOS:
            break
        at = max(end, at + 4)
    return tables.get(chosen)


def _tables(body: bytes) -> dict[int, NDArray[np.int64]]:
    found = {}
    while body:
        kind, number = ("u1", 64) if body[0] >> 4 == 0 else (">u2", 128)
        if len(body) < 1 + number:
            break
        found[body[0] & 15] = np.frombuffer(body[1 : 1 + number], kind).astype(np.int64)
        body = body[1 + number :]
    return found


@lru_cache(maxsize=1)
def _standard() -> NDArray[np.float64]:
    """Logarithms of libjpeg's luma tables of the qualities 1 to 100, 100 x 64."""
    base = np.array(_ZIGZAG_50.split(), dtype=np.int64)
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.log(np.clip((base * scale + 50) // 100, 1, 255))


def jpeg_quality(table: NDArray[np.int64]) -> int:
    """The quality whose table is nearest.

    Args:
        table: 64 factors in zigzag order, as of `luma_table`.

    Returns:
        1 to 100; of equally near ones the highest.
    """
    distance = ((_standard() - np.log(np.maximum(table, 1))) ** 2).sum(axis=1)
    return 100 - int(np.argmin(distance[::-1]))


def blockiness(luma_HW: NDArray[np.uint8]) -> float:
    """How much steps at the borders of 8 x 8 blocks stand out, averaged over both directions.

    Args:
        luma_HW: 0..255.

    Returns:
        0 for even steps; 0 for sides below 24 pixels.
    """
    height, width = luma_HW.shape
    if min(height, width) < 3 * _BLOCK:
        return 0.0
    columns, rows = np.zeros(width, np.int64), np.zeros(height, np.int64)
    step_sums(np.ascontiguousarray(luma_HW), columns, rows)
    across = _standing_out(columns[:-1] / height)
    down = _standing_out(rows[:-1] / width)
    return (across + down) / 2


def _standing_out(steps: NDArray[np.float64]) -> float:
    whole = len(steps) // _BLOCK * _BLOCK
    means = np.sort(steps[:whole].reshape(-1, _BLOCK).mean(axis=0))
    return float((means[-1] + _STEADY) / (means[(_BLOCK - 1) // 2] + _STEADY)) - 1


def expected_bytes_per_pixel(tiles_NHW: NDArray[np.uint8]) -> float:
    """Bytes a pixel of a picture's sample tiles as a grey JPEG of quality 75, less its header.

    Args:
        tiles_NHW: 0..255.

    Returns:
        Above 0.
    """
    count, height, width = tiles_NHW.shape
    column = np.ascontiguousarray(tiles_NHW.reshape(count * height, width, 1))
    coded = len(_grey(column)) - _empty_bytes()
    return max(1, coded) / (count * height * width)


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
    table = luma_table(picture.data) if picture.header.format == "jpeg" else None
    luma = picture.luma_full
    expected = expected_bytes_per_pixel(picture.once(tiles_of)) * luma.size
    return {
        "jpeg_quality": None if table is None else jpeg_quality(table),
        "blockiness": blockiness(luma),
        "bytes_over_expected": picture.header.bytes / expected,
    }


group = SignalGroup(
    name="compression",
    version=2,
    schema=pa.schema(
        [
            ("jpeg_quality", pa.int8()),
            ("blockiness", pa.float32()),
            ("bytes_over_expected", pa.float32()),
        ]
    ),
    measure=measure,
)
