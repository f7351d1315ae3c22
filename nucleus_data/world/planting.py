"""Plants the faults and copies of a world into any picture.

A white frame around a drawing on white is none, for whoever looks at it: where a frame or a caption
strip would be of the picture's own ground, it is planted in the opposite colour.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from nucleus_data.pixels import open_picture
from nucleus_data.world import alterations, files
from nucleus_data.world.expected import CHAINS, FRAMED, PLANTED, TWIN
from nucleus_data.world.plan import COPY_QUALITY, EXACT, STRENGTHS

QUALITY = 90
TWIN_QUALITY = 88  # of `files`' turned pictures
_SIDE = 1024
_SEEN = 40  # levels of luma between a frame and what it is around ...
_ALONG = 0.5  # ... along so much of the frame
_PER_PICTURE = 1000  # indices: more than there are faults times strengths


@dataclass(frozen=True)
class PlantedFile:
    """A file with a fault that was planted into a picture.

    Attributes:
        fault: One of `PLANTED`, or `TWIN`: the upright copy of an oriented file.
        strength: One of `STRENGTHS`; empty for an exact copy.
        data: The file's bytes.
        filename: A name with the suffix that the fault's files have.
        index: Its number among all pictures and files; `base_index` of the picture is smaller.
        original: The number of what it is a copy of.
    """

    fault: str
    strength: str
    data: bytes
    filename: str
    index: int
    original: int


def base_index(number: int) -> int:
    """The number of a picture as it is planted into, given its place among the pictures."""
    return number * _PER_PICTURE


def base_picture(data: bytes) -> Image.Image:
    """A file's picture as faults are planted into it: of 1,024 pixels at most, on white.

    Raises:
        PixelError: The file can't be read.
    """
    return Image.fromarray(open_picture(data).rgb(max_side=_SIDE))


def plant(picture: Image.Image, number: int, turns: int) -> Iterator[PlantedFile]:
    """Plants every fault and makes every copy.

    Args:
        picture: RGB, from `base_picture`.
        number: The picture's place among the pictures; random numbers depend on it.
        turns: In how many of the three strengths each; pictures and faults take turns.
    """
    base = base_index(number)
    count = 0
    for turn in range(turns):
        start = -1
        for place, fault in enumerate(PLANTED):
            # Both links of a chain have one strength.
            strength = (number + turn + (0 if fault in CHAINS else place)) % len(STRENGTHS)
            for name, data in planted_files(picture, fault, strength, [number, place]):
                count += 1
                index, original = base + count, base
                if name == "chain":
                    original = start
                elif name == TWIN:
                    original = index - 1
                start = index if name == "chain_start" else start
                said = "" if fault == EXACT else STRENGTHS[strength]
                filename = f"picture{files.SUFFIXES.get(fault, '.jpg')}"
                yield PlantedFile(name, said, data, filename, index, original)


def planted_files(
    picture: Image.Image, fault: str, strength: int, seed: list[int]
) -> Iterator[tuple[str, bytes]]:
    """The file of one fault; after an oriented one its upright twin.

    Args:
        picture: RGB.
        fault: One of `PLANTED`.
        strength: Number into `STRENGTHS`.
        seed: Seed of the random numbers.

    Yields:
        The fault's name, or `TWIN`, and the bytes.
    """
    rng = np.random.default_rng([*seed, 9])
    if fault == EXACT:
        yield fault, files.encoded(picture, "JPEG", QUALITY)
    elif fault in files.FILES:
        yield fault, files.FILES[fault](picture, strength, rng)
        if fault == "oriented":
            yield TWIN, files.encoded(picture, "JPEG", TWIN_QUALITY)
    else:
        alter = alterations.FAULTS.get(fault) or alterations.COPIES[fault]
        altered = alter(picture, strength, rng)
        if fault in FRAMED and _seen(picture, altered) < _ALONG:
            # The same random numbers again, so that the frame differs by its colour alone.
            rng = np.random.default_rng([*seed, 9])
            opposite = ImageOps.invert(alter(ImageOps.invert(picture), strength, rng))
            altered = max(altered, opposite, key=lambda framed: _seen(picture, framed))
        quality = COPY_QUALITY.get(fault, (90, 88, 85))[strength]
        yield fault, files.encoded(altered, "JPEG", quality)


def _seen(picture: Image.Image, framed: Image.Image) -> float:
    """Along how much of a frame, or of a strip below, the picture differs from it."""
    luma_HW = np.asarray(picture.convert("L"), dtype=np.int16)
    sides = [luma_HW[-1]]
    if framed.width > picture.width:
        sides += [luma_HW[0], luma_HW[:, 0], luma_HW[:, -1]]
    level = framed.convert("L").getpixel((0, framed.height - 1))
    return float((np.abs(np.concatenate(sides) - level) >= _SEEN).mean())
