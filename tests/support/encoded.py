"""Encoded pictures that are easy to tell apart, and why one can't be read."""

import io

import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import Limits, PixelError, open_picture

ORIENTATION = 0x0112
# What a camera would have stored so that orientation N brings the picture upright.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encode(image, file_format, **options):
    """A Pillow image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def scene(width=320, height=200, seed=0):
    """Smooth blobs of colour with a bright corner: no symmetry, compresses well."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    image.paste((255, 240, 0), (0, 0, width // 4, height // 5))
    return image


def solid(colour, mode="RGB", size=(40, 30)):
    """A picture of one colour."""
    return Image.new(mode, size, colour)


def reason_of(data, limits=None):
    """The reason why a file can't be read; fails if it can."""
    with pytest.raises(PixelError) as caught:
        _ = open_picture(data, limits or Limits()).luma_full
    return caught.value.reason
