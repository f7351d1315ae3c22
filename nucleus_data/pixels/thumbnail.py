"""Makes thumbnails for the report."""

import simplejpeg

from nucleus_data.pixels.header import DEFAULT_LIMITS, Limits
from nucleus_data.pixels.opening import open_picture

_QUALITY = 80


def thumbnail_jpeg(data: bytes, max_side: int = 256, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Makes a small, upright sRGB copy without the original's metadata.

    Args:
        data: The original file.
        max_side: Maximum length of a side in pixels; smaller pictures keep their size.
        limits: Limits, as for `open_picture`.

    Returns:
        A baseline JPEG of quality 80.

    Raises:
        PixelError: The picture can't be read.
    """
    pixels = open_picture(data, limits).rgb(max_side=max_side)
    return simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling="420")
