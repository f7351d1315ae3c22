"""The two decoders behind a picture: libjpeg-turbo for JPEG, Pillow for the rest and for odd JPEGs.

Both give stored pixels: not yet upright, not yet sRGB, but opaque and 8-bit. JPEG goes through
`simplejpeg`, because it stops at the first sign of damage, where Pillow paints grey and says
nothing, and because it decodes at a fraction of the size for a fraction of the time. Flipped bits
inside a JPEG's coded data may still decode to something; no decoder can tell those from pixels.
"""

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    QoiImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from nucleus_data.pixels.colour import flatten
from nucleus_data.pixels.errors import PixelError, Reason, from_decoder
from nucleus_data.pixels.sniff import promised_bytes

# The plugins by name and not `Image.open`: it tries others on damage, turns a phone's JPEG with a
# gain map into an "MPO" of two frames, and has a process-wide bomb limit beside ours.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "jpeg2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "ppm": PpmImagePlugin.PpmImageFile,
    "qoi": QoiImagePlugin.QoiImageFile,
}
# DCT scalings with fast code in libjpeg-turbo, each an average over a square of pixels.
_JPEG_FACTORS = (8, 4, 2)
# Oddities outside the coded pixels, seen in the wild: stray bytes between header segments, a bad
# profile segment. libjpeg-turbo stops at them; Pillow decodes on, and still notices a cut.
_HARMLESS = re.compile(r"bad ICC marker|extraneous bytes before marker 0x(c[012]|d[9bd]|e.|fe)")
_WARNINGS = threading.Lock()

Pixels = NDArray[np.uint8]


class Source(Protocol):
    """Stored pixels of one file, decoded when asked for."""

    def luma(self) -> Pixels:
        """BT.601 luma at full size, HxW."""

    def image(self, width: int, height: int) -> tuple[Image.Image, int]:
        """The picture in mode L, RGB or CMYK, and the factor by which it is scaled down.

        It is no smaller than asked for. Its sides are divided by the factor and rounded up.
        """


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Pillow's remarks on odd metadata to itself; what matters comes as an exception.

    `warnings.catch_warnings` is not made for threads, hence the lock.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_file(data: bytes, file_format: str) -> tuple[ImageFile.ImageFile, int]:
    """Reads a header with Pillow. No pixel is decoded.

    Args:
        data: The whole file.
        file_format: As `sniff` names it.

    Returns:
        The lazy picture and its number of frames (of pages, in a TIFF).

    Raises:
        PixelError: TOO_MANY_PIXELS, TRUNCATED or CORRUPT.
    """
    promised = promised_bytes(data, file_format)
    if promised > len(data):
        raise PixelError(Reason.TRUNCATED, f"{len(data)} bytes, its container says {promised}")
    try:
        with _quiet():
            image = _PLUGINS[file_format](io.BytesIO(data))
            frames = 1 if file_format == "jpeg" else int(getattr(image, "n_frames", 1))
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:  # a plugin that must allocate to read the header
        raise PixelError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:  # plugins raise a dozen types on damaged headers
        raise from_decoder(error, f"reading the {file_format} header") from error
    return image, frames


class PillowSource:
    """A file that Pillow decodes, whole and once."""

    def __init__(self, image: ImageFile.ImageFile, file_format: str) -> None:
        self._lazy: ImageFile.ImageFile | None = image
        self._format = file_format
        self._size = image.size

    def luma(self) -> Pixels:
        """BT.601 luma at full size, HxW."""
        image = self._flat
        return np.asarray(image if image.mode == "L" else image.convert("RGB").convert("L"))

    def image(self, width: int, height: int) -> tuple[Image.Image, int]:
        """The picture at its full size, and 1."""
        return self._flat, 1

    @cached_property
    def _flat(self) -> Image.Image:
        image, self._lazy = self._lazy, None
        if image is None:
            raise PixelError(Reason.CORRUPT, f"{self._format} failed to decode before")
        try:
            if self._format == "tiff":
                with _quiet():  # loading reads tags too
                    image.load()
            else:
                image.load()
            flat = flatten(image)
        except MemoryError:
            raise
        except Exception as error:  # codecs raise a dozen types on damage
            raise from_decoder(error, f"decoding {self._format}") from error
        if flat.size != self._size:
            raise PixelError(Reason.CORRUPT, f"decodes to {flat.size}, header says {self._size}")
        return flat


class _NotForTurbo(Exception):
    """libjpeg-turbo can't read this JPEG, or objects to something harmless in it."""


class JpegSource:
    """A JPEG. Decoded anew for each view, at the scale that the view needs."""

    def __init__(self, data: bytes, stored_size: tuple[int, int], mode: str) -> None:
        self._data = data
        self._size = stored_size
        self._mode = mode

    def luma(self) -> Pixels:
        """BT.601 luma at full size, HxW: the JPEG's own Y channel."""
        try:
            if self._mode != "CMYK":
                return self._decode("GRAY", 1)[:, :, 0]
        except _NotForTurbo:
            return self._pillow.luma()
        return np.asarray(self.image(*self._size)[0].convert("RGB").convert("L"))

    def image(self, width: int, height: int) -> tuple[Image.Image, int]:
        """The picture, at 1/2, 1/4 or 1/8 if that still is at least width x height."""
        full_width, full_height = self._size
        factor = 1
        for candidate in _JPEG_FACTORS:
            if full_width >= width * candidate and full_height >= height * candidate:
                factor = candidate
                break
        try:
            if self._mode == "CMYK":
                # Stored inverted, as Adobe does and all readers assume.
                return Image.fromarray(255 - self._decode("CMYK", factor), "CMYK"), factor
            if self._mode == "L":
                return Image.fromarray(self._decode("GRAY", factor)[:, :, 0]), factor
            return Image.fromarray(self._decode("RGB", factor)), factor
        except _NotForTurbo:
            return self._pillow.image(width, height)

    @cached_property
    def _pillow(self) -> PillowSource:
        return PillowSource(open_file(self._data, "jpeg")[0], "jpeg")

    def _decode(self, space: str, factor: int) -> Pixels:
        width, height = (-(-side // factor) for side in self._size)
        try:
            pixels = simplejpeg.decode_jpeg(
                self._data, space, min_width=width, min_height=height, strict=True
            )
        except ValueError as error:
            message = str(error)
            damaged = message.startswith("Corrupt JPEG data") and not _HARMLESS.search(message)
            if damaged or message.startswith("Premature end"):
                raise from_decoder(error, "decoding jpeg") from error
            raise _NotForTurbo(message) from error
        if pixels.shape[:2] != (height, width):
            found = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise PixelError(Reason.CORRUPT, f"decodes to {found}, header says {self._size}")
        return pixels


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height as libjpeg-turbo will decode them; None where it can't say."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except ValueError:
        return None
    return width, height
