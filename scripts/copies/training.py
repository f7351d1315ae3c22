"""Originals to fit on: those of even numbers, in sizes and parts that the bench does not have."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.copies.damage import saved
from scripts.copies.originals import Original, originals

FIRST = 1000  # scenes and textures from this number on are the bench's never


@dataclass(frozen=True)
class Lesson:
    """An original to fit on.

    Attributes:
        original: Whose picture it is.
        seed: Of what is drawn: the part of it, its size, how it is saved, the copies.
        part: Whether it is cut out, or scaled down.
    """

    original: Original
    seed: int
    part: bool

    def file(self) -> bytes:
        """The original as a file."""
        if self.original.path is None:
            return self.original.file()
        rng = np.random.default_rng(self.seed)
        with Image.open(self.original.path) as opened:
            whole = opened.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
        picture = _drawn(rng, picture.convert("RGB"), self.part)
        form = int(rng.integers(6))
        if form == 0:
            return saved(picture, "PNG", compress_level=1)
        if form == 1:
            return saved(picture, "WEBP", quality=int(rng.integers(85, 95)), method=1)
        subsampling = int(rng.choice([0, 2]))
        return saved(picture, "JPEG", quality=int(rng.integers(75, 97)), subsampling=subsampling)

    def picture(self) -> Image.Image:
        """The picture of the file, which the copies are made of."""
        return Image.open(io.BytesIO(self.file())).convert("RGB")


def _drawn(rng: np.random.Generator, picture: Image.Image, part: bool) -> Image.Image:
    if not part:
        side = int(rng.integers(420, 760))
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        return picture
    if rng.random() < 0.5 and picture.width > 1600:
        half = (picture.width // 2, picture.height // 2)
        picture = picture.resize(half, Image.Resampling.LANCZOS)
    width = min(int(rng.integers(380, 660)), picture.width)
    height = min(int(rng.integers(320, 560)), picture.height)
    x = int(rng.integers(picture.width - width + 1))
    y = int(rng.integers(picture.height - height + 1))
    return picture.crop((x, y, x + width, y + height))


def lessons(folders: list[Path], more: list[Path], real: int, drawn: int = 10) -> Iterator[Lesson]:
    """Lists what is fitted on, in an order that is drawn.

    Args:
        folders: Folders of real pictures, as of the bench.
        more: Folders of real pictures that the bench does not have; all are taken.
        real: As of the bench; those of odd numbers are left to it.
        drawn: Scenes, and textures.
    """
    found = [Original(group, FIRST + 2 * n) for group in ("world", "texture") for n in range(drawn)]
    mine = [o for o in originals(folders, 0, real) if o.number % 2 == 0]
    work = [(original, False) for original in found]
    work += [(original, part) for original in mine for part in (True, True, False)]
    work += [(original, False) for original in originals(more, 0, real)]
    for seed in np.random.default_rng(7).permutation(len(work)).tolist():
        original, part = work[seed]
        yield Lesson(original, 100 + seed, part)
