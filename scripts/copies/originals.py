"""Originals: scenes of the world, textures with a photograph's spectrum, pictures of a folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from nucleus_data.world.painting import render
from nucleus_data.world.scenes import scene
from scripts.copies.damage import saved

SIDE = 640  # pixels that a real picture's longer side has at most
SIZES = ((640, 480), (512, 512), (400, 600), (640, 400))
SAVED = (
    ("JPEG", {"quality": 85}),
    ("JPEG", {"quality": 95, "subsampling": 0}),
    ("PNG", {"compress_level": 1}),
    ("JPEG", {"quality": 90}),
    ("WEBP", {"quality": 90, "method": 1}),
    ("JPEG", {"quality": 78}),
)


@dataclass(frozen=True)
class Original:
    """A picture to be made.

    Attributes:
        group: world, texture, or the name of a folder.
        number: Its place in the group.
        path: The file, of a folder's pictures.
    """

    group: str
    number: int
    path: Path | None = None

    def file(self) -> bytes:
        """The original as a file."""
        form, options = SAVED[self.number % len(SAVED)]
        return saved(self._picture(), form, **options)

    def _picture(self) -> Image.Image:
        size = SIZES[self.number % len(SIZES)]
        if self.group == "world":
            return render(scene(91, self.number, "full"), *size)
        if self.group == "texture":
            return texture(self.number, *size)
        assert self.path is not None
        return of_file(self.path, native=self.number % 3 == 0)


def of_file(path: Path, native: bool) -> Image.Image:
    """A file's picture on white, scaled down, or the middle of it at its own scale."""
    with Image.open(path) as opened:
        whole = ImageOps.exif_transpose(opened).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    if not native:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        return picture
    width, height = min(SIDE, picture.width), min(SIDE * 3 // 4, picture.height)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def texture(seed: int, width: int, height: int) -> Image.Image:
    """Noise whose power falls with about 1/f^2, in colour, with some plain boxes on it."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.normal(size=(height, width, 3)), axes=(0, 1))
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(width), np.fft.fftfreq(height)))
    frequency[0, 0] = 1
    fall = rng.uniform(1.0, 1.4)
    pixels = np.fft.irfft2(spectrum / frequency[..., None] ** fall, s=(height, width), axes=(0, 1))
    pixels = (pixels - pixels.min((0, 1))) / np.ptp(pixels, axis=(0, 1))
    picture = Image.fromarray((pixels * 255).astype(np.uint8))
    for _ in range(int(rng.integers(3, 12))):
        x, y, side = (int(rng.integers(n)) for n in (width, height, min(width, height) // 3))
        colour = tuple(int(level) for level in rng.integers(0, 255, 3))
        picture.paste(colour, (x, y, x + side + 8, y + side + 8))
    return picture


def originals(folders: list[Path], drawn: int, real: int) -> Iterator[Original]:
    """Lists what copies are made of.

    Args:
        folders: Folders of real pictures.
        drawn: Scenes of the world; half as many textures.
        real: Pictures of each folder, evenly spread, at most.
    """
    yield from (Original("world", number) for number in range(drawn))
    yield from (Original("texture", number) for number in range(drawn // 2))
    for folder in folders:
        paths = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png")
        )
        chosen = paths[:: max(1, -(-len(paths) // real))]
        yield from (Original(folder.name, number, path) for number, path in enumerate(chosen))
