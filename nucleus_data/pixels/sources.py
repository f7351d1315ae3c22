"""Decodes stored pixels: JPEG with libjpeg-turbo, other formats and unusual JPEGs with Pillow.

The pixels are opaque and have 8 bits, but are not yet upright or sRGB. JPEG is decoded by
`simplejpeg`, since it stops at the first sign of damage, where Pillow silently fills in grey, and
since it can decode at a reduced scale in a fraction of the time. Flipped bits in a JPEG's coded
data may still decode to something; `scripts/bench_corruption.py` measures how often they are
detected. WebP and AVIF have no checksum, so damage in them mostly goes undetected.
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

# Scales with optimised code in libjpeg-turbo; each averages over squares of pixels.
_JPEG_FACTORS = (8, 4, 2)
# If more bytes precede the pixels, they are removed once instead of skipped in each decode.
_MAX_METADATA = 2**20
# Size of a buffer that is reused for the pixels of smaller pictures that are averaged immediately.
# numpy requests large pages for it, and it is already in the CPU's caches.
_SCRATCH_BYTES = 2**22
# Warnings of libjpeg-turbo about coded pixels, after which it would continue with wrong pixels.
_DAMAGE = ("Corrupt JPEG data", "Inconsistent progression")

Pixels = NDArray[np.uint8]


class _Scratch(threading.local):
    """A buffer that each thread reuses."""

    @cached_property
    def pixels(self) -> Pixels:
        return np.empty(_SCRATCH_BYTES, np.uint8)


_SCRATCH = _Scratch()


class Source(Protocol):
    """Stored pixels of one file, decoded on request."""

    def image(self, width: int, height: int) -> tuple[Image.Image, int]:
        """Returns the picture in mode L, RGB or CMYK, and the factor by which it is scaled down.

        Its sides are divided by the factor and rounded up, and are no smaller than requested.
        """

    def rgb(self, width: int, height: int) -> Pixels | None:
        """Returns the picture, uint8[H, W, 3], if decoding at some scale gives RGB of this size.

        Otherwise returns None; the caller then uses `words` or `image`.
        """

    def words(self, width: int, height: int) -> tuple[NDArray[np.uint32], int] | None:
        """Like `image`, but returns uint32[H, W]: the bytes red, green, blue and an unused one.

        Returns None if that requires a Pillow image; the caller then uses `image`.
        """

    def luma_and_blocks(self, width: int, height: int) -> tuple[Pixels, Pixels, int]:
        """Returns full-size BT.601 luma, means of square blocks, and the side of a block in pixels.

        The luma is uint8[H, W]. The means are uint8[h, w, C], with C = 1 (grey), 3 (RGB) or 4
        (CMYK), and no fewer than requested; the last ones in each direction may be of incomplete
        blocks.
        """


def _luma(image: Image.Image) -> Pixels:
    """Returns BT.601 luma, uint8[H, W], of a picture in mode L, RGB or CMYK."""
    return by_bands(image, _to_luma)


def _to_luma(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" else image.convert("RGB").convert("L")


def _channels(image: Image.Image) -> Pixels:
    """Returns the picture as uint8[H, W, C]."""
    return np.atleast_3d(by_bands(image, lambda part: part))


class PillowSource:
    """A file that Pillow decodes, once and at full size."""

    def __init__(self, opened: Opened, file_format: str, data: bytes) -> None:
        self._lazy: ImageFile.ImageFile | None = opened.image
        self._truncated = opened.truncated
        self._data = data
        self._format = file_format
        self._size = opened.image.size

    def image(self, width: int, height: int) -> tuple[Image.Image, int]:
        """Returns the picture at its full size, and 1."""
        return self._flat, 1

    def rgb(self, width: int, height: int) -> Pixels | None:
        """Returns None, since Pillow always decodes to an image."""
        return None

    def words(self, width: int, height: int) -> tuple[NDArray[np.uint32], int] | None:
        """Returns None, since Pillow always decodes to an image."""
        return None

    def luma_and_blocks(self, width: int, height: int) -> tuple[Pixels, Pixels, int]:
        """Returns full-size BT.601 luma, the picture itself, and 1."""
        return _luma(self._flat), _channels(self._flat), 1

    @cached_property
    def _flat(self) -> Image.Image:
        """The decoded picture, opaque and 8-bit."""
        # Decode only once: after a failure, Pillow's object is half-loaded, and a second `load`
        # might return the incomplete pixels.
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
        except Exception as error:  # codecs raise many types of exceptions for damaged data
            raise from_decoder(error, f"decoding {self._format}", self._truncated) from error
        if flat.size != self._size:
            raise PixelError(Reason.CORRUPT, f"decodes to {flat.size}, header says {self._size}")
        return flat


class _NotForTurbo(Exception):
    """libjpeg-turbo can't decode this JPEG, or objects to something harmless in it."""


class JpegSource:
    """A JPEG, decoded anew for each view at the scale that the view needs."""

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
        """Returns the picture, at scale 1/2, 1/4 or 1/8 if that is at least width x height."""
        factor = self._factor(width, height)
        try:
            if self._mode == "CMYK":
                # CMYK is stored inverted, as by Adobe; all readers assume it.
                pixels = self._decode("CMYK", factor)
                return Image.fromarray(np.invert(pixels, out=pixels), "CMYK"), factor
            if self._mode == "L":
                return Image.fromarray(self._decode("GRAY", factor)[:, :, 0]), factor
            return Image.fromarray(self._decode("RGB", factor)), factor
        except _NotForTurbo:
            return self._pillow.image(width, height)

    def rgb(self, width: int, height: int) -> Pixels | None:
        """Returns the pixels at scale 1, 1/2, 1/4 or 1/8 if that is exactly the requested size."""
        factor = self._factor(width, height)
        if self._mode != "RGB" or self._size != (width * factor, height * factor):
            return None
        try:
            return self._decode("RGB", factor)
        except _NotForTurbo:
            return None

    def words(self, width: int, height: int) -> tuple[NDArray[np.uint32], int] | None:
        """Returns the pixels of a colour JPEG; None for others."""
        if self._mode != "RGB":
            return None
        factor = self._factor(width, height)
        try:
            pixels_HWX = self._decode("RGBX", factor)
        except _NotForTurbo:
            return None
        return pixels_HWX.view(np.uint32)[:, :, 0], factor

    def luma_and_blocks(self, width: int, height: int) -> tuple[Pixels, Pixels, int]:
        """Returns luma and means of blocks with sides of 1, 2, 4 or 8 pixels, from one full decode.

        The luma is that of the decoded RGB, as for all formats. For saturated colours, and by
        rounding, it differs from the JPEG's own luma.
        """
        factor = self._factor(width, height)
        try:
            if self._mode == "RGB":
                from nucleus_data.pixels.kernels import luma_and_blocks  # here, as it imports numba

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
        # Without the end marker that `_decode` appended, as Pillow would fill what is missing with
        # grey.
        ours = self._header.truncated and self._checked
        data = self._data.removesuffix(EOI) if ours else self._data
        return PillowSource(open_file(data, "jpeg"), "jpeg", data)

    def _decode(self, space: str, factor: int, passing: bool = False) -> Pixels:
        """Decodes the stored pixels.

        Args:
            space: Name of the colour space in `simplejpeg`.
            factor: Factor by which to scale down.
            passing: Whether the caller averages the pixels immediately. Chroma is then upsampled in
                a faster way, and the next decode may overwrite the pixels.
        """
        if not self._checked:
            check_holes(self._data, self._core, self._scan)
            if self._header.truncated:
                check_cut(self._data, self._header._replace(scan=self._scan))
                # If more than the end marker is missing, libjpeg-turbo reports a premature end.
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
        """Decodes in strict mode, after removing what is known to be harmless if it fails."""
        # Twice, as libjpeg-turbo's message does not count padding that it has already read.
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
        """Removes metadata: damage before the pixels does not affect the pixels."""
        self._data, self._scan = self._core + self._data[self._scan :], len(self._core)
        return True

    def _without_padding(self, message: str) -> bool:
        data = without_padding(self._data, self._scan, message)
        self._data = data or self._data
        return data is not None
