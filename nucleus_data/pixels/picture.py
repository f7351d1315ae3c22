"""One encoded picture and views of its pixels, each decoded when it is first asked for."""

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
_QUICK = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)  # those of `resize.FILTERS`

Box = tuple[float, float, float, float]
Found = TypeVar("Found")


class Picture:
    """Views of one picture, all upright. Made by `opening.open_picture`.

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
        self._once: dict[Callable[[Picture], Any], Any] = {}

    def once(self, what: "Callable[[Picture], Found]") -> "Found":
        """What a function finds in this picture, kept for whoever asks next.

        Args:
            what: A module's function, whose result depends on the picture alone and is not changed.
        """
        if what not in self._once:
            self._once[what] = what(self)
        found: Found = self._once[what]
        return found

    @property
    def luma_full(self) -> Pixels:
        """BT.601 luma of the stored values (before the colour profile), full size, HxW, 0..255.

        Asking for it decodes the whole file, so it is also the proof that the file is complete.
        """
        return self._views[0]

    @property
    def small(self) -> Pixels:
        """The picture averaged down to a long side of 256, HxWx3 sRGB, 0..255; never enlarged.

        The means are exact, a pixel that two of them share counting for each by its part (not as in
        Pillow's BOX, which moved the pHash of 21 of 150 resized copies of synthetic scenes).
        """
        return self._views[1]

    @cached_property
    def _views(self) -> tuple[Pixels, Pixels]:
        """`luma_full` and `small`, of one decode."""
        from nucleus_data.pixels.kernels import area_average  # not without need: it imports numba

        full = (self.header.width, self.header.height)
        wanted = fit(*full, SMALL_SIDE)
        if swaps_sides(self._turn):
            full, wanted = full[::-1], wanted[::-1]
        luma, pixels_HWC, factor = self._source.luma_and_blocks(*wanted)
        # Blocks that fill the wanted size exactly are the means that are asked for.
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
        """BT.601 luma of `small`, HxW, 0..255."""
        from nucleus_data.pixels.kernels import luma_of

        luma = luma_of(self.small)
        luma.flags.writeable = False
        return luma

    def _decode(self, needed: tuple[int, int]) -> tuple[Image.Image, Callable[[Box], Box]]:
        """The upright picture, large enough, and where a box of the original lies in it."""
        image, factor = self._source.image(*self._stored(needed))
        image = upright(image, self._turn)
        return image, lambda box: self._placed(box, image.size, factor)

    def _stored(self, size: tuple[int, int]) -> tuple[int, int]:
        """An upright size before the picture is turned."""
        return size[::-1] if swaps_sides(self._turn) else size

    def _placed(self, box: Box, size: tuple[int, int], factor: int) -> Box:
        """Where a box of the original lies in the upright picture, scaled down by a factor.

        A scaled decode ends in a column and a row of which only a part is picture. They are the
        stored right and bottom, so a turn may bring them to the left and to the top.
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
        """Pixels for whoever scales them down further: of a JPEG, of its own scaled decode.

        That is 1/2, 1/4 or 1/8 of the size if no side gets shorter than asked for, and the full
        size otherwise. Not cached; the array is the caller's.

        Args:
            least: The shortest side, in pixels, that is enough.

        Returns:
            HxWx3 sRGB, 0..255.

        Raises:
            PixelError: If the pixels can't be decoded.
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
        """Pixels to look at or to train on. Not cached; the array is the caller's.

        They are scaled from a JPEG's own scaled decode where that is large enough.

        Args:
            max_side: Scale down so that no side of the result is longer; never enlarges. Not with
                `size`.
            crop: Left, top, right, bottom in upright pixels of the original; all of it by default.
            size: Exact width and height of the result; enlarges if need be.
            resample: The filter that scales.

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
        # For a thumbnail or two, importing numba would cost more than it saves.
        resized = size is not None
        if size is None:
            kept = (max(1, round(right - left)), max(1, round(bottom - top)))
            size = kept if max_side is None else fit(*kept, max_side)
        if min(size) < 1:
            raise ValueError(f"size must be positive, got {size}")
        # A training set's pictures need no more than decoding; an image between costs a third more.
        whole = (left, top, right, bottom) == (0, 0, *full)
        plain = self._source.rgb(*size) if whole and self._turn == 1 and not self._icc else None
        if plain is not None:
            return plain
        # The whole picture, at the scale at which the crop has the size asked for.
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
        """A box of the original, before its profile is applied; None if it takes a Pillow image."""
        found = self._source.words(*self._stored(needed)) if resample in _QUICK else None
        if found is None:
            return None
        from nucleus_data.pixels.resize import resized  # not without need: it imports numba

        words_HW, factor = found
        words_HW = turned(words_HW, self._turn)
        placed = self._placed(box, words_HW.shape[::-1], factor)
        return resized(words_HW, size, resample, placed)


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
