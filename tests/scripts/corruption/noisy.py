"""Pictures with the shades of photographs."""

import io

import numpy as np
from PIL import Image


def scene(width=400, height=300, seed=0):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    wide = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(wide + rng.normal(0, 9, wide.shape), 0, 255).astype(np.uint8))


def encode(image, file_format="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()
