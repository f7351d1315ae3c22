"""What is looked at of a copy: the whole picture, small, and a window of it at its own scale."""

from collections.abc import Sequence
from dataclasses import dataclass

from nucleus_data.pixels import Limits, open_picture
from nucleus_data.stages.compare.planes import Pixels, resized

WINDOW = 384  # pixels of the window's sides, at the scale of the smallest copy
MOST = 2 * WINDOW  # and of a larger copy's window, which is scaled down to that
WHOLE = 320  # pixels of the longer side of the whole picture


@dataclass(frozen=True)
class View:
    """A decoded copy.

    Attributes:
        width: Of the whole picture, in pixels.
        height: Of the whole picture, in pixels.
        whole: The whole picture, scaled down so that its longer side is at most `WHOLE`.
        window: The middle of it, as a share of the picture that all copies of a group have.
        scale: Pixels of the window for each pixel of the picture, at most 1.
        inks: Whether the file has four inks (CMYK), of which the colours were made.
    """

    width: int
    height: int
    whole: Pixels
    window: Pixels
    scale: float
    inks: bool = False


def share_of(sizes: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Which share of the width and of the height the window has, the same for all copies.

    Args:
        sizes: Width and height of each copy.
    """
    width, height = min(sizes, key=lambda size: size[0] * size[1])
    return min(1.0, WINDOW / width), min(1.0, WINDOW / height)


def view(data: bytes, share: tuple[float, float], limits: Limits) -> View:
    """Decodes a copy.

    Args:
        data: The file.
        share: From `share_of`.
        limits: What to refuse.

    Raises:
        PixelError: It can't be decoded.
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
