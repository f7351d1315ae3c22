"""One encoded picture, its header, and views of its pixels, each decoded when first asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from nucleus_data.pixels.colour import to_srgb
from nucleus_data.pixels.errors import PixelError, Reason
from nucleus_data.pixels.exif import flips, read_orientation, swaps_sides, upright
from nucleus_data.pixels.sniff import sniff
from nucleus_data.pixels.sources import (
    JpegSource,
    PillowSource,
    Pixels,
    Source,
    jpeg_size,
    open_file,
)

SMALL_SIDE = 256

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Limits:
    """What is refused by the header alone, before any pixel is decoded.

    Attributes:
        max_pixels: Width times height; the default needs about 1 GB to decode.
        max_bytes: Size of the file.
        max_aspect: Long side over short side.
    """

    max_pixels: int = 2**27
    max_bytes: int = 2**27
    max_aspect: float = 1000.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Header:
    """What a file says of itself, and what was found in it.

    Attributes:
        format: By its signature: jpeg, png, webp, avif, gif, bmp, tiff, jpeg2000, ppm or qoi.
        width: Pixels, after the EXIF orientation is applied.
        height: Pixels, after the EXIF orientation is applied.
        mode: Pillow's name of the stored mode: RGB, L, CMYK, P, RGBA, I;16...
        frames: Frames of an animation or pages of a TIFF; the views show the first.
        orientation: EXIF orientation as stored, 1 to 8.
        has_icc: Whether a colour profile is embedded (even one that is of no use).
        has_alpha: Whether anything may be transparent; the views lay it over white.
        bytes: Size of the file.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    orientation: int
    has_icc: bool
    has_alpha: bool
    bytes: int


class Picture:
    """Views of one picture, all upright. Made by `open_picture`.

    Every view raises `PixelError` (TRUNCATED, CORRUPT, UNSUPPORTED_MODE) when the pixels can't be
    decoded. The cached views are read-only arrays, so that no reader can change what the next one
    sees. Not safe to share between threads.

    Attributes:
        header: What is known without decoding.
        data: The whole file.
    """

    def __init__(
        self, header: Header, data: bytes, source: Source, turn: int, icc: bytes | None
    ) -> None:
        self.header = header
        self.data = data
        self._source = source
        self._turn = turn  # the orientation that is still to be applied to what the source gives
        self._icc = icc

    @cached_property
    def luma_full(self) -> Pixels:
        """BT.601 luma of the stored values (before the colour profile), full size, HxW, 0..255.

        Asking for it decodes the whole file, so it is also the proof that the file is complete.
        """
        luma = self._source.luma()
        if self._turn != 1:
            luma = np.asarray(upright(Image.fromarray(luma), self._turn))
        luma.flags.writeable = False
        return luma

    @cached_property
    def small(self) -> Pixels:
        """The picture averaged down to a long side of 256, HxWx3 sRGB, 0..255; never enlarged.

        The average is weighted by a Hamming window: Pillow's BOX counts split pixels as whole ones,
        which moved the pHash of 21 of 150 resized copies of synthetic scenes, and this one 2.
        """
        width, height = fit(self.header.width, self.header.height, SMALL_SIDE)
        image, place = self._decode((width, height))
        box = place((0, 0, self.header.width, self.header.height))
        image = image.resize((width, height), Image.Resampling.HAMMING, box=box)
        small = np.array(to_srgb(image, self._icc))
        small.flags.writeable = False
        return small

    @cached_property
    def luma_small(self) -> Pixels:
        """BT.601 luma of `small`, HxW, 0..255."""
        luma = np.array(Image.fromarray(self.small).convert("L"))
        luma.flags.writeable = False
        return luma

    def _decode(self, needed: tuple[int, int]) -> tuple[Image.Image, Callable[[Box], Box]]:
        """The upright picture, large enough, and where a box of the original lies in it.

        A scaled decode ends in a column and a row of which only a part is picture. They are the
        stored right and bottom, so a turn may bring them to the left and to the top.
        """
        stored = needed[::-1] if swaps_sides(self._turn) else needed
        image, factor = self._source.image(*stored)
        image = upright(image, self._turn)
        flip_x, flip_y = flips(self._turn)
        dx = image.width * factor - self.header.width if flip_x else 0
        dy = image.height * factor - self.header.height if flip_y else 0

        def place(box: Box) -> Box:
            left, top, right, bottom = box
            return (
                (left + dx) / factor,
                (top + dy) / factor,
                (right + dx) / factor,
                (bottom + dy) / factor,
            )

        return image, place

    def rgb(
        self,
        max_side: int | None = None,
        crop: Box | None = None,
        size: tuple[int, int] | None = None,
    ) -> Pixels:
        """Pixels to look at or to train on. Not cached; the array is the caller's.

        Scaling is Lanczos, from a JPEG's own scaled decode where that is large enough.

        Args:
            max_side: Scale down so that no side of the result is longer; never enlarges. Not with
                `size`.
            crop: Left, top, right, bottom in upright pixels of the original; all of it by default.
            size: Exact width and height of the result; enlarges if need be.

        Returns:
            HxWx3 sRGB, 0..255.

        Raises:
            ValueError: If the crop is empty or leaves the picture, a size is not positive, or both
                are given.
            PixelError: If the pixels can't be decoded.
        """
        full = (self.header.width, self.header.height)
        left, top, right, bottom = crop or (0, 0, *full)
        if not (0 <= left < right <= full[0] and 0 <= top < bottom <= full[1]):
            raise ValueError(f"crop must lie inside 0, 0, {full[0]}, {full[1]}, got {crop}")
        if max_side is not None and size is not None:
            raise ValueError("give max_side or size, not both")
        if size is None:
            kept = (max(1, round(right - left)), max(1, round(bottom - top)))
            size = kept if max_side is None else fit(*kept, max_side)
        if min(size) < 1:
            raise ValueError(f"size must be positive, got {size}")
        # The whole picture, at the scale at which the crop has the size asked for.
        needed = (
            min(full[0], -(-size[0] * full[0] // (right - left))),
            min(full[1], -(-size[1] * full[1] // (bottom - top))),
        )
        image, place = self._decode((int(needed[0]), int(needed[1])))
        box = place((left, top, right, bottom))
        if image.size != size or box != (0, 0, *image.size):
            image = image.resize(size, Image.Resampling.LANCZOS, box=box)
        return np.array(to_srgb(image, self._icc))


def fit(width: int, height: int, max_side: int) -> tuple[int, int]:
    """The size with the same aspect whose long side is at most `max_side`; never enlarges.

    Raises:
        ValueError: If `max_side` is below 1.
    """
    if max_side < 1:
        raise ValueError(f"max_side must be 1 or more, got {max_side}")
    long = max(width, height)
    if long <= max_side:
        return width, height
    return max(1, round(width * max_side / long)), max(1, round(height * max_side / long))


def open_picture(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Reads a picture's header. Pixels are decoded when a view is asked for.

    Args:
        data: The whole file.
        limits: What to refuse.

    Returns:
        The picture.

    Raises:
        PixelError: With a reason from `Reason`; nothing else, whatever the bytes are.
    """
    if len(data) > limits.max_bytes:
        raise PixelError(Reason.TOO_MANY_BYTES, f"{len(data)}, allowed {limits.max_bytes}")
    file_format = sniff(data)
    image, frames = open_file(data, file_format)
    exif, icc = image.info.get("exif"), image.info.get("icc_profile")
    size = image.size
    if file_format == "tiff":
        # Pillow turns a TIFF upright by itself, and gives the size after that.
        orientation = _tiff_orientation(image)
        turn = 1
    else:
        orientation = turn = read_orientation(exif if isinstance(exif, bytes) else None)
    if file_format == "jpeg":
        size = jpeg_size(data) or size
    width, height = size[::-1] if swaps_sides(turn) else size
    _check_size(width, height, limits)
    header = Header(
        format=file_format,
        width=width,
        height=height,
        mode=image.mode,
        frames=frames,
        orientation=orientation,
        has_icc=bool(icc),
        has_alpha=image.has_transparency_data,
        bytes=len(data),
    )
    source: Source
    if file_format == "jpeg":
        source = JpegSource(data, size, image.mode)
    else:
        source = PillowSource(image, file_format)
    return Picture(header, data, source, turn, icc if isinstance(icc, bytes) and icc else None)


def _tiff_orientation(image: Image.Image) -> int:
    value = image.tag_v2.get(0x0112, 1)  # type: ignore[attr-defined]
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _check_size(width: int, height: int, limits: Limits) -> None:
    found = f"{width}x{height}"
    if width < 1 or height < 1:
        raise PixelError(Reason.CORRUPT, f"a picture of {found} pixels")
    if width * height > limits.max_pixels:
        raise PixelError(
            Reason.TOO_MANY_PIXELS, f"{found}, allowed {limits.max_pixels} pixels in all"
        )
    if max(width, height) > limits.max_aspect * min(width, height):
        raise PixelError(Reason.TOO_EXTREME, f"{found}, allowed 1:{limits.max_aspect:g}")
