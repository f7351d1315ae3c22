"""Makes a sample's stored picture: cropped, resized to its bucket, and encoded; or the original."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from nucleus_data.pixels import INSPECTED, Picture, open_picture
from nucleus_data.stages.shard.settings import ShardSettings

SUFFIX = {"jpeg": "jpg", "webp": "webp", "original": "jpg"}
WEBP_METHOD = 4
# Bytes per pixel of photographs by quality, to estimate tar sizes; measured on 512-pixel JPEGs.
_BYTES_A_PIXEL = ((50, 0.12), (75, 0.2), (85, 0.27), (90, 0.35), (95, 0.5), (100, 1.3))
_WEBP_SHARE = 0.7


@dataclass(frozen=True)
class Stored:
    """A picture as it is stored.

    Attributes:
        data: The encoded file.
        width: Width in pixels.
        height: Height in pixels.
        pixels: The pixels before encoding (HxWx3, sRGB); None for an original that is kept.
    """

    data: bytes
    width: int
    height: int
    pixels: Any = None

    def loss(self) -> tuple[int, int]:
        """Returns the encoding loss: sum of squared errors, and number of values (0 to 255)."""
        if self.pixels is None:
            return 0, 0
        with Image.open(io.BytesIO(self.data)) as image:
            read = np.asarray(image, np.int64)
        return int(((read - self.pixels) ** 2).sum()), read.size


def stored(
    data: bytes, record: Mapping[str, Any], target: tuple[int, int], settings: ShardSettings
) -> Stored:
    """Makes the picture that a training shard holds.

    Args:
        data: The original file.
        record: Its row of the plan, with the crop.
        target: Width and height of its bucket.
        settings: How the training set is made.

    Raises:
        PixelError: It cannot be decoded.
    """
    if passes(record, target, settings):  # `inspect` has already decoded these bytes
        return Stored(data, record["original_width"], record["original_height"])
    left, top, right, bottom = record["crop"]
    picture = open_picture(data, INSPECTED)
    unknown = _fits(record, target, settings) and record.get("plain") is None
    if unknown and is_plain(**_facts(picture)):
        return Stored(data, picture.header.width, picture.header.height)
    # Takes half as long as Lanczos; no visible difference after a scaled decode, which averages.
    cut = (left, top, right, bottom)
    pixels = picture.rgb(crop=cut, size=target, resample=Image.Resampling.BICUBIC)
    return Stored(encoded(pixels, settings), *target, pixels)


def passes(record: Mapping[str, Any], target: tuple[int, int], settings: ShardSettings) -> bool:
    """Whether a record's original is stored as it is, being known to be plain."""
    return bool(record.get("plain")) and _fits(record, target, settings)


def _fits(record: Mapping[str, Any], target: tuple[int, int], settings: ShardSettings) -> bool:
    left, top, right, bottom = record["crop"]
    scale = max((right - left) / target[0], (bottom - top) / target[1])
    return settings.format == "original" and scale <= settings.original_scale


def encoded(pixels: Any, settings: ShardSettings) -> bytes:
    """Encodes pixels (HxWx3, sRGB) in the set's format."""
    if settings.format == "webp":
        stream = io.BytesIO()
        image = Image.fromarray(pixels)
        image.save(stream, "WEBP", quality=settings.quality, method=WEBP_METHOD)
        return stream.getvalue()
    data: bytes = simplejpeg.encode_jpeg(pixels, quality=settings.quality, colorsubsampling="420")
    return data


def bytes_of(settings: ShardSettings, size: tuple[int, int]) -> float:
    """Estimates the bytes of a stored picture of a bucket."""
    quality = next(each for most, each in _BYTES_A_PIXEL if settings.quality <= most)
    return size[0] * size[1] * quality * (_WEBP_SHARE if settings.format == "webp" else 1)


def is_plain(*, format: str, mode: str, has_icc: bool, orientation: int, truncated: bool) -> bool:
    """Whether an original may be stored as it is: a JPEG that every reader displays correctly.

    The arguments are columns of the signal group `file`.

    Args:
        format: File format.
        mode: Pixel mode.
        has_icc: Whether there is a colour profile.
        orientation: EXIF orientation, 1 to 8.
        truncated: Whether the end marker is missing.
    """
    plain = format == "jpeg" and mode == "RGB" and not has_icc
    return plain and orientation == 1 and not truncated


PLAIN = ("format", "mode", "has_icc", "orientation", "truncated")  # the arguments of `is_plain`


def _facts(picture: Picture) -> dict[str, Any]:
    return {name: getattr(picture.header, name) for name in PLAIN}
