"""Clean files for `scripts/bench_corruption.py`: as they were shipped, and written in more ways."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from PIL import Image

from nucleus_data.pixels import Picture, PixelError, open_picture
from nucleus_data.signals import colour, tone
from scripts.corruption.encoders import WAYS

SHIPPED = "as shipped"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SIDES = (512, 1024, 1600)
# Of a photograph. Screenshots, plots and drawings mostly have a ground of one colour.
_ENTROPY = 6.5
_DOMINANT = 0.4
_SIDE = 256


@dataclass(frozen=True)
class Clean:
    """A file without a fault.

    Attributes:
        source: Where its pixels are from.
        way: `as shipped`, or the encoder's name.
        data: The file.
    """

    source: Path
    way: str
    data: bytes


def like_a_photograph(picture: Picture) -> bool:
    """Whether a picture has the many shades of one: 6.5 bits of luma, no colour over 40 %."""
    if max(picture.header.width, picture.header.height) < _SIDE:
        return False
    return bool(
        tone.group.measure(picture, None)["entropy"] >= _ENTROPY
        and colour.group.measure(picture, None)["dominant_share"] < _DOMINANT
    )


def clean_files(folders: Sequence[Path], photographs: bool, times: int) -> Iterator[Clean]:
    """Each JPEG of the folders as it is, then the pixels of each picture by the encoders in turn.

    Each content counts once. A JPEG that our decoder refuses is there as it was shipped, and is not
    written anew: whoever counts alarms, counts it.

    Args:
        folders: Searched through and through.
        photographs: Only what looks like one; a refused JPEG does.
        times: How often each picture is written: in its own size (1,600 pixels at most), in smaller
            ones, and in its own again.
    """
    ways, seen = cycle(WAYS.items()), set()
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        digest = hashlib.sha256(data).digest()
        if digest in seen:
            continue
        seen.add(digest)
        jpeg = data.startswith(b"\xff\xd8")
        try:
            picture = open_picture(data)
            if photographs and not like_a_photograph(picture):
                continue
            largest = picture.rgb(max_side=SIDES[-1])
        except PixelError:
            if jpeg:
                yield Clean(path, SHIPPED, data)
            continue
        if jpeg:
            yield Clean(path, SHIPPED, data)
        image = Image.fromarray(largest)
        own = max(image.size)
        smaller = [side for side in SIDES[::-1] if side < own]
        for side in [own, *smaller, *([own] * times)][:times]:
            scaled = image.copy()
            scaled.thumbnail((side, side))
            name, encode = next(ways)
            yield Clean(path, name, encode(scaled))
