"""Reads and applies the EXIF orientation.

Only this tag is parsed. Pillow's parser reads every tag, and warns about damage in tags that are
not used here.
"""

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ORIENTATION_TAG = 0x0112
_SHORT = 3
_ENTRY_BYTES = 12

# EXIF 2.32, section 4.6.4.A: the operation that brings the stored picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_orientation(exif: bytes | None) -> int:
    """Returns the orientation tag of an EXIF block.

    Args:
        exif: The block, a TIFF structure with or without the leading `Exif`; None if there is none.

    Returns:
        1 to 8; as in browsers, 1 if the block or tag is missing, damaged or out of range.
    """
    if not exif:
        return 1
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for i in range(count):
            at = start + 2 + i * _ENTRY_BYTES
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, at)
            if tag == _ORIENTATION_TAG:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def swaps_sides(orientation: int) -> bool:
    """Returns whether an orientation swaps width and height."""
    return orientation >= 5  # 5 to 8 are the transposed ones


def flips(orientation: int) -> tuple[bool, bool]:
    """Returns whether the upright picture's x axis, and y axis, run against the stored order."""
    return orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Rotates or mirrors a stored picture upright; returns the same object for orientation 1."""
    operation = _UPRIGHT.get(orientation)
    return image if operation is None else image.transpose(operation)


def turned(values_HW: NDArray[np.uint32], orientation: int) -> NDArray[np.uint32]:
    """Rotates or mirrors an array, with one value per pixel, upright; returns a view."""
    if swaps_sides(orientation):
        values_HW = values_HW.T
    flip_x, flip_y = flips(orientation)
    return values_HW[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
