"""The two decoders behind a picture: libjpeg-turbo for JPEG, Pillow for the rest and for odd JPEGs.

Both give stored pixels: not yet upright, not yet sRGB, but opaque and 8-bit. JPEG goes through
`simplejpeg`, because it stops at the first sign of damage, where Pillow paints grey and says
nothing, and because it decodes at a fraction of the size for a fraction of the time. Flipped bits
inside a JPEG's coded data may still decode to something: `scripts/bench_corruption.py` measures how
often they are noticed. WebP and AVIF have no checksum; there damage mostly stays silent.
"""

import threading
from functools import cached_property
from typing import Protocol

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile

from nucleus_data.pixels.colour import by_bands, flatten
from nucleus_data.pixels.containers import check_png_data
from nucleus_data.pixels.errors import PixelError, Reason, from_decoder
from nucleus_data.pixels.holes import check_holes
from nucleus_data.pixels.jpeg import EOI, JpegHeader, check_cut, check_scans, without_padding
from nucleus_data.pixels.pillow_files import Opened, open_file, quiet

# DCT scalings with fast code in libjpeg-turbo, each an average over a square of pixels.
_JPEG_FACTORS = (8, 4, 2)
# Above it, what stands before the pixels is skipped once, and not in each decoding.
_MAX_METADATA = 2**20
# Pixels of smaller pictures, which are averaged at once and then of no more use, are decoded to one
# place of so many bytes: numpy asks for large pages for it, and it is in the caches already.
_SCRATCH_BYTES = 2**22
# Warnings of libjpeg-turbo about coded pixels; it goes on after them, with something else.
_DAMAGE = ("Corrupt JPEG data", "Inconsistent progression")

Pixels = NDArray[np.uint8]


class _Scratch(threading.local):
    """Memory that a thread uses again and again."""

    @cached_property
    def pixels(self) -> Pixels:
        return np.empty(_SCRATCH_BYTES, np.uint8)


_SCRATCH = _Scratch()


class Source(Protocol):
    """Stored pixels of one file, decoded when asked for."""

    def image(self, width: int, height: int) -> tuple[Image.Image, int]:
        """The picture in mode L, RGB or CMYK, and the factor by which it is scaled down.

        It is no smaller than asked for. Its sides are divided by the factor and rounded up.
        """

    def rgb(self, width: int, height: int) -> Pixels | None:
        """The picture as HxWx3 if the file's own pixels have that size, RGB or of a scaled decode.

        None if it takes more than decoding; then `words` or `image` is asked.
        """

    def words(self, width: int, height: int) -> tuple[NDArray[np.uint32], int] | None:
        """As `image`, but HxW words of red, green, blue and a byte that does not count.

        None if there is no such view without a Pillow image; then `image` is asked.
        """

    def luma_and_blocks(self, width: int, height: int) -> tuple[Pixels, Pixels, int]:
        """BT.601 luma at full size, HxW, means of square blocks, and the side of a block.

        The means are h x w x 1 (grey), 3 (RGB) or 4 (CMYK), and no fewer than asked for; the last
        ones along each side may be of less than a block.
        """


def _luma(image: Image.Image) -> Pixels:
    """BT.601 luma, HxW, of a picture in mode L, RGB or CMYK."""
    return by_bands(image, _to_luma)


def _to_luma(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" else image.convert("RGB").convert("L")


def _channels(image: Image.Image) -> Pixels:
    """The picture as H x W x 1, 3 or 4."""
    return np.atleast_3d(by_bands(image, lambda part: part))


class PillowSource:
    """A file that Pillow decodes, whole and once."""

    def __init__(self, opened: Opened, file_format: str, data: bytes) -> None:
        self._lazy: ImageFile.ImageFile | None = opened.image
        self._truncated = opened.truncated
        self._data = data
        self._format = file_format
        self._size = opened.image.size

    def image(self, width: int, height: int) -> tuple[Image.Image, int]:
        """The picture at its full size, and 1."""
        return self._flat, 1

    def rgb(self, width: int, height: int) -> Pixels | None:
        """None: what Pillow decodes is an image first."""
        return None

    def words(self, width: int, height: int) -> tuple[NDArray[np.uint32], int] | None:
        """None, too."""
        return None

    def luma_and_blocks(self, width: int, height: int) -> tuple[Pixels, Pixels, int]:
        """BT.601 luma at full size, the picture itself, and 1."""
        return _luma(self._flat), _channels(self._flat), 1

    @cached_property
    def _flat(self) -> Image.Image:
        """The decoded picture, opaque and 8-bit."""
        # Taken only once: Pillow's object is half-loaded after a failure, and another `load` might
        # hand out what there is of it.
        image, self._lazy = self._lazy, None
        if image is None:
            raise PixelError(Reason.CORRUPT, f"{self._format} failed to decode before")
        try:
            if self._format == "png":
                check_png_data(self._data)
            if self._format == "tiff":
                with quiet():  # loading reads tags too
                    image.load()
            else:
                image.load()
            flat = flatten(image)
        except MemoryError:
            raise
        except Exception as error:  # codecs raise a dozen types on damage
            raise from_decoder(error, f"decoding {self._format}", self._truncated) from error
        if flat.size != self._size:
            raise PixelError(Reason.CORRUPT, f"decodes to {flat.size}, header says {self._size}")
        return flat


class _NotForTurbo(Exception):
    """libjpeg-turbo can't read this JPEG, or objects to something harmless in it."""


class JpegSource:
    """A JPEG. Decoded anew for each view, at the scale that the view needs."""

    def __init__(self, data: bytes, header: JpegHeader) -> None:
        check_scans(data, header)
        self._data = data
        self._size = (header.width, header.height)
        self._mode = header.mode
        self._header = header
        self._core, self._scan = header.core, header.scan
        self._checked = False
        if self._scan > _MAX_METADATA:
            self._without_metadata()

    def image(self, width: int, height: int) -> tuple[Image.Image, int]:
        """The picture, at 1/2, 1/4 or 1/8 if that still is at least width x height."""
        factor = self._factor(width, height)
        try:
            if self._mode == "CMYK":
                # Stored inverted, as Adobe does and all readers assume.
                pixels = self._decode("CMYK", factor)
                return Image.fromarray(np.invert(pixels, out=pixels), "CMYK"), factor
            if self._mode == "L":
                return Image.fromarray(self._decode("GRAY", factor)[:, :, 0]), factor
            return Image.fromarray(self._decode("RGB", factor)), factor
        except _NotForTurbo:
            return self._pillow.image(width, height)

    def rgb(self, width: int, height: int) -> Pixels | None:
        """The pixels at full size, 1/2, 1/4 or 1/8, if that is the size asked for."""
        factor = self._factor(width, height)
        if self._mode != "RGB" or self._size != (width * factor, height * factor):
            return None
        try:
            return self._decode("RGB", factor)
        except _NotForTurbo:
            return None

    def words(self, width: int, height: int) -> tuple[NDArray[np.uint32], int] | None:
        """The pixels, of a JPEG in colour."""
        if self._mode != "RGB":
            return None
        factor = self._factor(width, height)
        try:
            pixels_HWX = self._decode("RGBX", factor)
        except _NotForTurbo:
            return None
        return pixels_HWX.view(np.uint32)[:, :, 0], factor

    def luma_and_blocks(self, width: int, height: int) -> tuple[Pixels, Pixels, int]:
        """BT.601 luma, blocks of 1, 2, 4 or 8 pixels a side, and that number, of one full decode.

        The luma is that of the decoded RGB, as in all formats: at saturated colours, and here and
        there by rounding, it is another than the JPEG's own.
        """
        factor = self._factor(width, height)
        try:
            if self._mode == "RGB":
                from nucleus_data.pixels.kernels import luma_and_blocks  # not without need: numba

                return *luma_and_blocks(self._decode("RGBX", 1, passing=True), factor), factor
            if self._mode == "L":
                grey_HWC = self._decode("GRAY", 1)
                return grey_HWC[:, :, 0], grey_HWC, 1
        except _NotForTurbo:
            return self._pillow.luma_and_blocks(width, height)
        image, _ = self.image(*self._size)
        return _luma(image), _channels(image), 1

    def _factor(self, width: int, height: int) -> int:
        full_width, full_height = self._size
        fitting = (
            f for f in _JPEG_FACTORS if full_width >= width * f and full_height >= height * f
        )
        return next(fitting, 1)

    @cached_property
    def _pillow(self) -> PillowSource:
        # Without the end that was given to it: Pillow would paint grey over what is missing.
        ours = self._header.truncated and self._checked
        data = self._data.removesuffix(EOI) if ours else self._data
        return PillowSource(open_file(data, "jpeg"), "jpeg", data)

    def _decode(self, space: str, factor: int, passing: bool = False) -> Pixels:
        """Stored pixels.

        Args:
            space: As `simplejpeg` calls it.
            factor: By which they are scaled down.
            passing: Whether they are only averaged, at once: chroma is enlarged quickly, and they
                may be gone when the next picture is decoded.
        """
        if not self._checked:
            check_holes(self._data, self._core, self._scan)
            if self._header.truncated:
                check_cut(self._data, self._header._replace(scan=self._scan))
                # If more than the end is missing, libjpeg-turbo meets it too early, and says so.
                self._data += EOI[self._data.endswith(EOI[:1]) :]
            self._checked = True
        width, height = (-(-side // factor) for side in self._size)
        fits = passing and len(space) * width * height <= _SCRATCH_BYTES
        place = _SCRATCH.pixels if fits else None
        pixels = self._strictly(space, width, height, place, fast=passing)
        if pixels.shape[:2] != (height, width):
            found = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise PixelError(Reason.CORRUPT, f"decodes to {found}, header says {self._size}")
        return pixels

    def _strictly(
        self, space: str, width: int, height: int, place: Pixels | None, *, fast: bool
    ) -> Pixels:
        """Stops at any objection of libjpeg-turbo that stays when what is harmless is cut away."""
        # Twice: libjpeg-turbo does not count the padding that it has read ahead.
        padding = () if self._header.truncated else (self._without_padding,) * 2
        for cure in (self._without_metadata, *padding, None):
            try:
                return simplejpeg.decode_jpeg(
                    self._data,
                    space,
                    fastupsample=fast,
                    min_width=width,
                    min_height=height,
                    buffer=place,
                    strict=True,
                )
            except ValueError as error:
                message = str(error)
                if cure is None or not cure(message):
                    break
        damaged = message.startswith(_DAMAGE)
        if message.startswith("Premature end") or (damaged and self._header.truncated):
            raise PixelError(Reason.TRUNCATED, message)
        if damaged:
            raise PixelError(Reason.DAMAGED_DATA, message)
        raise _NotForTurbo(message)

    def _without_metadata(self, message: str = "") -> bool:
        """Stray bytes and damaged segments before the pixels are no damage of the pixels."""
        self._data, self._scan = self._core + self._data[self._scan :], len(self._core)
        return True

    def _without_padding(self, message: str) -> bool:
        data = without_padding(self._data, self._scan, message)
        self._data = data or self._data
        return data is not None
