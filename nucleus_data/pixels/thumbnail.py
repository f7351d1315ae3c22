"""Thumbnails for the report."""

import simplejpeg

from nucleus_data.pixels.header import DEFAULT_LIMITS, Limits
from nucleus_data.pixels.opening import open_picture

_QUALITY = 80


def thumbnail_jpeg(data: bytes, max_side: int = 256, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """A small upright sRGB copy. Holds no metadata of the original.

    Args:
        data: The original file.
        max_side: Longest side in pixels; smaller pictures keep their size.
        limits: As for `open_picture`.

    Returns:
        A baseline JPEG of quality 80.

    Raises:
        PixelError: If the picture can't be read.
    """
    pixels = open_picture(data, limits).rgb(max_side=max_side)
    return simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling="420")
