"""Parses boxes, the parts of AVIF, HEIF and JPEG 2000 files, each with a size and a name.

Also reads the properties of a JPEG 2000 that Pillow does not: its colour profile, its orientation,
and its number of tiles.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from nucleus_data.pixels.errors import PixelError, Reason
from nucleus_data.pixels.exif import read_orientation

MAX_BOXES = 1000
# OpenJPEG takes 0.1 ms per tile, however small; encoders write tiles of at least 256 x 256 pixels.
MAX_TILES = 2**13
MAX_LAYERS = 2**10
_NAME = frozenset(range(32, 127))
_EXIF = (b"JpgTiffExif->JP2", bytes.fromhex("0537cdab9d0c4431a72afa561f2a113e"))
_ICC = (2, 3)  # methods of a `colr` box: a restricted profile, any profile


class Box(NamedTuple):
    """A box: its name, and the offsets of its start, of its content, and of its stated end."""

    kind: bytes
    start: int
    body: int
    end: int


def boxes(data: bytes, at: int = 0, stop: int | None = None) -> Iterator[Box]:
    """Yields the boxes of a file or of a box; the last one may extend beyond the file's end.

    Stops at anything that is not a box, such as garbage behind the last one.

    Args:
        data: The whole file.
        at: Offset of the first box.
        stop: Offset of the end of the last box; None for the end of the file.
    """
    stop = len(data) if stop is None else min(stop, len(data))
    for _ in range(MAX_BOXES):
        if at + 8 > stop or not _NAME.issuperset(data[at + 4 : at + 8]):
            return
        size, body = int.from_bytes(data[at : at + 4], "big"), at + 8
        if size == 1:  # a 64-bit size follows the name
            size, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        elif size == 0:  # up to the end
            size = stop - at
        if size < body - at:
            return
        yield Box(data[at + 4 : at + 8], at, body, at + size)
        at += size


class Jp2(NamedTuple):
    """Properties of a JPEG 2000 that Pillow does not provide.

    Attributes:
        size: Width and height of the codestream, which are those of the decoded picture.
        icc: Colour profile, or None.
        orientation: Orientation in the EXIF block, 1 to 8; 1 without one.
    """

    size: tuple[int, int]
    icc: bytes | None
    orientation: int


def read_jp2(data: bytes) -> Jp2:
    """Parses the boxes of a JPEG 2000 and the beginning of its codestream.

    Args:
        data: The whole file.

    Raises:
        PixelError: CORRUPT, TRUNCATED, or TOO_COSTLY (more than `MAX_TILES` or `MAX_LAYERS`).
    """
    icc, orientation, codestream = None, 1, 0
    if not data.startswith(b"\xff\x4f"):
        for box in boxes(data):
            if box.kind == b"jp2h":
                icc = _profile(data, box)
            elif box.kind == b"jp2c":
                codestream = codestream or box.body
            elif box.kind == b"uuid" and data[box.body : box.body + 16] in _EXIF:
                orientation = read_orientation(data[box.body + 16 : box.end])
        if not codestream:
            raise PixelError(Reason.TRUNCATED, "a JPEG 2000 without a codestream")
    return Jp2(_checked_size(data, codestream), icc, orientation)


def _profile(data: bytes, header: Box) -> bytes | None:
    for box in boxes(data, header.body, header.end):
        if box.kind == b"colr" and data[box.body] in _ICC:
            return data[box.body + 3 : box.end]
    return None


def _checked_size(data: bytes, at: int) -> tuple[int, int]:
    """Returns width and height from the codestream's SIZ marker, after checking its tiles."""
    if data[at : at + 4] != b"\xff\x4f\xff\x51":
        raise PixelError(Reason.CORRUPT, "a codestream that does not begin with its size")
    try:
        right, bottom, x, y, tile_x, tile_y, left, top = struct.unpack_from(">8I", data, at + 8)
    except struct.error:
        raise PixelError(Reason.TRUNCATED, "the file ends in its header") from None
    if not (tile_x and tile_y):
        raise PixelError(Reason.CORRUPT, "tiles of no size")
    tiles = -(-(right - left) // tile_x) * -(-(bottom - top) // tile_y)
    if tiles > MAX_TILES:
        raise PixelError(Reason.TOO_COSTLY, f"{tiles} tiles, allowed {MAX_TILES}")
    cod = data.find(b"\xff\x52", at, at + 2**12)
    layers = int.from_bytes(data[cod + 6 : cod + 8], "big") if cod >= 0 else 1
    if layers > MAX_LAYERS:
        raise PixelError(Reason.TOO_COSTLY, f"{layers} layers, allowed {MAX_LAYERS}")
    return right - x, bottom - y
