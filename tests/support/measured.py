"""Pictures for tests of signals: photo-like ones, plain ones, and noise."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image

from nucleus_data.pixels import open_picture
from tests.support.encoded import encode


def picture_of(image, file_format="PNG", **options):
    """An image as an opened picture."""
    if file_format == "PNG":
        options.setdefault("compress_level", 0)  # as exact, and in a fraction of the time
    return open_picture(encode(image, file_format, **options))


def solid(colour, size=(80, 60)):
    """A picture of one colour."""
    return Image.new("RGB", size, colour)


def scene(width=640, height=480, seed=0):
    """Blobs of many sizes, as in a photo, with some grain."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128.0)
    for cells, strength in ((4, 60), (9, 40), (25, 20)):
        coarse = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        for c in range(3):
            layer = Image.fromarray(coarse[..., c])
            pixels[..., c] += np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC))
    pixels += rng.normal(0, 4, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


SIDES = st.integers(1, 90)
LEVELS = st.sampled_from([2, 40, 256])
some = settings(max_examples=30)


def noise(height, width, levels=256, channels=()):
    """Random levels, uint8 (H, W, *channels); the same for the same height."""
    rng = np.random.default_rng(height)
    return rng.integers(0, levels, (height, width, *channels), dtype=np.uint8)
