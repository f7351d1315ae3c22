"""Captions that a picture's own pixels give, in words that the nano text encoder knows.

It has 768 pieces, of the world's captions: a word of a stamp's caption needs 3.2, of an emoji's
name 3.8, and meets a quarter of these words once in a set. Whether a comparison sees swapped
captions of real pictures at all is asked with words that it can read.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from nucleus_data.world.scenes import BACKGROUNDS, COLORS

PALETTE = {**COLORS, **BACKGROUNDS}
SIDE = 32  # pixels that are looked at, each way


def colours_of(picture: Image.Image) -> str:
    """Tells the two commonest colours of a picture but white, in a sentence."""
    seen = picture.convert("RGBA")
    seen = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    pixels = np.asarray(seen.convert("RGB").resize((SIDE, SIDE)), dtype=np.int64).reshape(-1, 1, 3)
    palette = np.array(list(PALETTE.values()), dtype=np.int64)
    nearest = ((pixels - palette) ** 2).sum(axis=2).argmin(axis=1)
    counts = dict(zip(PALETTE, np.bincount(nearest, minlength=len(PALETTE)), strict=True))
    del counts["white"]
    first, second = sorted(counts, key=lambda name: -counts[name])[:2]
    if not counts[second]:
        second = "white"
    return f"A {first} and {second} picture."


def told_colours(pictures: Path) -> dict[str, str]:
    """Key -> caption, of the PNG files below a folder."""
    found = {}
    for file in sorted(pictures.rglob("*.png")):
        with Image.open(file) as picture:
            found[file.relative_to(pictures).as_posix()] = colours_of(picture)
    return found
