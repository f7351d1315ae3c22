"""Decodes what is compared of a copy: the whole picture, small, and a window at its own scale."""

from collections.abc import Sequence
from dataclasses import dataclass

from nucleus_data.pixels import Limits, open_picture
from nucleus_data.stages.compare.planes import Pixels, resized

WINDOW = 384  # largest side of the window in pixels, at the scale of the smallest copy
MOST = 2 * WINDOW  # largest side of a larger copy's window, which is scaled down to it
WHOLE = 320  # longer side of the whole picture, in pixels


@dataclass(frozen=True)
class View:
    """A decoded copy.

    Attributes:
        width: Width of the original picture, in pixels.
        height: Height of the original picture, in pixels.
        whole: The whole picture, scaled down so that its longer side is at most `WHOLE`, RGB.
        window: The centre of the picture, RGB; the same share of it for all copies of a group.
        scale: Scale of the window: its pixels per pixel of the original, at most 1.
        inks: Whether the file is in four inks (CMYK), and was converted to RGB.
    """

    width: int
    height: int
    whole: Pixels
    window: Pixels
    scale: float
    inks: bool = False


def share_of(sizes: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Chooses the window's share of the width and of the height, the same one for all copies.

    Args:
        sizes: Width and height of each copy, in pixels.
    """
    width, height = min(sizes, key=lambda size: size[0] * size[1])
    return min(1.0, WINDOW / width), min(1.0, WINDOW / height)


def view(data: bytes, share: tuple[float, float], limits: Limits) -> View:
    """Decodes a copy.

    Args:
        data: The file.
        share: The window's share of the width and of the height, from `share_of`.
        limits: Limits of what is decoded.

    Raises:
        PixelError: The file can't be decoded, or is above the limits.
    """
    picture = open_picture(data, limits)
    width, height = picture.header.width, picture.header.height
    full = picture.rgb()
    across, down = max(1, round(width * share[0])), max(1, round(height * share[1]))
    left, top = (width - across) // 2, (height - down) // 2
    window = full[top : top + down, left : left + across]
    scale = min(1.0, MOST / max(across, down))
    return View(
        width,
        height,
        resized(full, *_within(width, height, WHOLE)),
        resized(window, *_within(across, down, MOST)),
        scale,
        picture.header.mode == "CMYK",
    )


def _within(width: int, height: int, most: int) -> tuple[int, int]:
    scale = min(1.0, most / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
