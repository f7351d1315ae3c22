"""An encoded picture, and views of its pixels that are decoded on first use."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from nucleus_data.pixels.colour import by_bands, to_srgb
from nucleus_data.pixels.exif import flips, swaps_sides, turned, upright
from nucleus_data.pixels.header import Header
from nucleus_data.pixels.sources import Pixels, Source

SMALL_SIDE = 256
_QUICK = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)  # the keys of `resize.FILTERS`

Box = tuple[float, float, float, float]
Found = TypeVar("Found")


class Picture:
    """A picture with upright views of its pixels; made by `opening.open_picture`.

    Every view raises `PixelError` (TRUNCATED, CORRUPT, UNSUPPORTED_MODE, DAMAGED_DATA) if the
    pixels can't be decoded. The cached views are read-only arrays, so that no reader can change
    what the next one sees. Not thread-safe.

    Attributes:
        header: The header, which is known without decoding.
        data: The whole file.
    """

    def __init__(
        self, header: Header, data: bytes, source: Source, turn: int, icc: bytes | None
    ) -> None:
        self.header = header
        self.data = data
        self._source = source
        self._turn = turn  # EXIF orientation that remains to be applied to the source's pixels
        self._icc = icc
        self._once: dict[Callable[[Picture], Any], Any] = {}

    def once(self, what: "Callable[[Picture], Found]") -> "Found":
        """Returns a function's result for this picture, from a cache if it was called before.

        Args:
            what: A module-level function whose result depends only on the picture. Callers must not
                modify the result.
        """
        if what not in self._once:
            self._once[what] = what(self)
        found: Found = self._once[what]
        return found

    @property
    def luma_full(self) -> Pixels:
        """BT.601 luma of the stored values (before the colour profile), uint8[H, W], full size.

        Computing it decodes the whole file, and thus proves that the file is complete.
        """
        return self._views[0]

    @property
    def small(self) -> Pixels:
        """The picture averaged down to a long side of 256, uint8[H, W, 3], sRGB; never enlarged.

        The means are exact: a pixel on the border of two cells contributes to both, by area. (In
        Pillow's BOX it does not, which changed the pHash of 21 of 150 resized copies of synthetic
        scenes.)
        """
        return self._views[1]

    @cached_property
    def _views(self) -> tuple[Pixels, Pixels]:
        """`luma_full` and `small`, from one decode."""
        from nucleus_data.pixels.kernels import area_average  # imported here, as it imports numba

        full = (self.header.width, self.header.height)
        wanted = fit(*full, SMALL_SIDE)
        if swaps_sides(self._turn):
            full, wanted = full[::-1], wanted[::-1]
        luma, pixels_HWC, factor = self._source.luma_and_blocks(*wanted)
        # If the blocks divide the picture into the wanted size exactly, they are the result.
        if full != (wanted[0] * factor, wanted[1] * factor):
            pixels_HWC = area_average(pixels_HWC, factor, full, wanted)
        small = pixels_HWC
        if self._icc or small.shape[2] != 3:
            mode = {1: "L", 3: "RGB", 4: "CMYK"}[small.shape[2]]
            image = Image.frombytes(mode, wanted, small.tobytes())
            small = np.array(to_srgb(image, self._icc))
        if self._turn != 1:
            luma, small = (
                np.array(upright(Image.fromarray(view), self._turn)) for view in (luma, small)
            )
        luma.flags.writeable = small.flags.writeable = False
        return luma, small

    @cached_property
    def luma_small(self) -> Pixels:
        """BT.601 luma of `small`, uint8[H, W]."""
        from nucleus_data.pixels.kernels import luma_of

        luma = luma_of(self.small)
        luma.flags.writeable = False
        return luma

    def _decode(self, needed: tuple[int, int]) -> tuple[Image.Image, Callable[[Box], Box]]:
        """Decodes the upright picture, at a reduced scale if that is at least as large as `needed`.

        Returns:
            The picture, and a function that maps a box of the original to it.
        """
        image, factor = self._source.image(*self._stored(needed))
        image = upright(image, self._turn)
        return image, lambda box: self._placed(box, image.size, factor)

    def _stored(self, size: tuple[int, int]) -> tuple[int, int]:
        """Converts an upright size to that of the stored pixels."""
        return size[::-1] if swaps_sides(self._turn) else size

    def _placed(self, box: Box, size: tuple[int, int], factor: int) -> Box:
        """Maps a box of the original to the upright picture that is scaled down by `factor`.

        In a scaled decode, only a part of the last column and row may belong to the picture. They
        are the right and bottom of the stored pixels, so rotation may move them to the left or top.
        """
        flip_x, flip_y = flips(self._turn)
        dx = size[0] * factor - self.header.width if flip_x else 0
        dy = size[1] * factor - self.header.height if flip_y else 0
        left, top, right, bottom = box
        return (
            (left + dx) / factor,
            (top + dy) / factor,
            (right + dx) / factor,
            (bottom + dy) / factor,
        )

    def reduced(self, least: int) -> Pixels:
        """Returns pixels for further downscaling; a JPEG is decoded at a reduced scale.

        The scale is 1/2, 1/4 or 1/8 if no side becomes shorter than `least`, otherwise 1. The array
        is not cached, and the caller may modify it.

        Args:
            least: Minimum length of a side, in pixels; shorter sides keep their length.

        Returns:
            uint8[H, W, 3], sRGB.

        Raises:
            PixelError: The pixels can't be decoded.
        """
        full = (self.header.width, self.header.height)
        image, _ = self._decode((min(full[0], least), min(full[1], least)))
        return by_bands(image, lambda part: to_srgb(part, self._icc))

    def rgb(
        self,
        max_side: int | None = None,
        crop: Box | None = None,
        size: tuple[int, int] | None = None,
        resample: Image.Resampling = Image.Resampling.LANCZOS,
    ) -> Pixels:
        """Returns pixels to look at or to train on, cropped and resized.

        A JPEG is decoded at a reduced scale if that is large enough. The array is not cached, and
        the caller may modify it.

        Args:
            max_side: Maximum length of the result's sides in pixels; never enlarges. Excludes
                `size`.
            crop: Left, top, right, bottom in upright pixels of the original; None for all of it.
            size: Exact width and height of the result in pixels; enlarges if necessary.
            resample: Resampling filter.

        Returns:
            uint8[H, W, 3], sRGB.

        Raises:
            ValueError: The crop is empty or exceeds the picture, a size is not positive, or both
                `max_side` and `size` are given.
            PixelError: The pixels can't be decoded.
        """
        full = (self.header.width, self.header.height)
        left, top, right, bottom = crop or (0, 0, *full)
        if not (0 <= left < right <= full[0] and 0 <= top < bottom <= full[1]):
            raise ValueError(f"crop must lie inside 0, 0, {full[0]}, {full[1]}, got {crop}")
        if max_side is not None and size is not None:
            raise ValueError("give max_side or size, not both")
        # Only `size` uses the compiled resizing: for a few thumbnails with `max_side`, importing
        # numba would take longer than it saves.
        resized = size is not None
        if size is None:
            kept = (max(1, round(right - left)), max(1, round(bottom - top)))
            size = kept if max_side is None else fit(*kept, max_side)
        if min(size) < 1:
            raise ValueError(f"size must be positive, got {size}")
        # Pictures of a training set need only be decoded; going through a Pillow image would take a
        # third longer.
        whole = (left, top, right, bottom) == (0, 0, *full)
        plain = self._source.rgb(*size) if whole and self._turn == 1 and not self._icc else None
        if plain is not None:
            return plain
        # Size of the whole picture at the scale at which the crop has the requested size.
        needed = (
            min(full[0], -(-size[0] * full[0] // (right - left))),
            min(full[1], -(-size[1] * full[1] // (bottom - top))),
        )
        exact = (int(needed[0]), int(needed[1]))
        box = (left, top, right, bottom)
        pixels = self._resized(exact, size, resample, box) if resized else None
        if pixels is not None and not self._icc:
            return pixels
        if pixels is not None:
            image = Image.fromarray(pixels)
        else:
            image, place = self._decode(exact)
            box = place(box)
            if image.size != size or box != (0, 0, *image.size):
                image = image.resize(size, resample, box=box)
        return by_bands(image, lambda part: to_srgb(part, self._icc))

    def _resized(
        self,
        needed: tuple[int, int],
        size: tuple[int, int],
        resample: Image.Resampling,
        box: Box,
    ) -> Pixels | None:
        """Resizes a box of the original with compiled code, before its profile is applied.

        Returns:
            None if that requires a Pillow image.
        """
        decoded = self._source.words(*self._stored(needed)) if resample in _QUICK else None
        if decoded is None:
            return None
        from nucleus_data.pixels.resize import resized  # imported here, as it imports numba

        words_HW, factor = decoded
        words_HW = turned(words_HW, self._turn)
        placed = self._placed(box, words_HW.shape[::-1], factor)
        return resized(words_HW, size, resample, placed)


def fit(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Scales a size down such that its long side is at most `max_side`; never enlarges.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        max_side: Maximum length of a side in pixels.

    Returns:
        Width and height with the same aspect, rounded, at least 1.

    Raises:
        ValueError: `max_side` is below 1.
    """
    if max_side < 1:
        raise ValueError(f"max_side must be 1 or more, got {max_side}")
    long = max(width, height)
    if long <= max_side:
        return width, height
    return max(1, round(width * max_side / long)), max(1, round(height * max_side / long))
