"""Opens files with Pillow: its readers by format, and what it knows without decoding a pixel."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from nucleus_data.pixels.containers import prepare
from nucleus_data.pixels.errors import PixelError, Reason, from_decoder

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
    "jp2": Jpeg2KImagePlugin.Jpeg2KImageFile,
}
_ORIENTATION_TAG = 0x0112
_WARNINGS = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Pillow's remarks on odd metadata to itself; what matters comes as an exception.

    `warnings.catch_warnings` is not made for threads, hence the lock.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Opened(NamedTuple):
    """A file whose header is read.

    Attributes:
        image: The lazy picture.
        frames: Its number of frames, of pages in a TIFF, of pictures in a HEIF.
        truncated: Whether the file ends early, as `Header.truncated`.
    """

    image: ImageFile.ImageFile
    frames: int
    truncated: bool


def _plugin(file_format: str) -> type[ImageFile.ImageFile]:
    """Pillow's reader of a format. Raises PixelError if it is in an extra that is missing."""
    if file_format != "heif":
        return _PLUGINS[file_format]
    try:
        from pillow_heif import HeifImageFile  # an extra
    except ImportError:
        raise PixelError(
            Reason.NEEDS_HEIF, "HEIC is read by the extra heif: pip install 'nucleus-data[heif]'"
        ) from None
    plugin: type[ImageFile.ImageFile] = HeifImageFile
    return plugin


def open_file(data: bytes, file_format: str) -> Opened:
    """Reads a header with Pillow. No pixel is decoded.

    Args:
        data: The whole file.
        file_format: As `sniff` names it.

    Raises:
        PixelError: TOO_MANY_PIXELS, TOO_COSTLY, TRUNCATED, CORRUPT or NEEDS_HEIF.
    """
    plugin = _plugin(file_format)
    readable, frames, truncated = prepare(data, file_format)
    try:
        with quiet():
            image = plugin(io.BytesIO(readable))
            if frames is None:
                frames = int(getattr(image, "n_frames", 1))
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:  # a plugin that must allocate to read the header
        raise PixelError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:  # plugins raise a dozen types on damaged headers
        raise from_decoder(error, f"reading the {file_format} header", truncated) from error
    return Opened(image, frames, truncated)


def orientation_before(image: Image.Image, file_format: str) -> int:
    """The orientation of a TIFF or a HEIF before its reader turned it upright, 1 to 8.

    Of a HEIF it is what its EXIF block names; the turns of the file itself stand for it.
    """
    if file_format == "tiff":
        value = image.tag_v2.get(_ORIENTATION_TAG, 1)  # type: ignore[attr-defined]
    else:
        value = image.info.get("original_orientation")
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
