"""Opens files with the Pillow plugin for their format, without decoding pixels."""

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

# Plugins are used directly, as `Image.open` tries others if a file is damaged, opens a phone's JPEG
# with a gain map as an "MPO" of two frames, and has a process-wide limit of its own.
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
    """Suppresses Pillow's warnings about unusual metadata; relevant errors are exceptions.

    The lock is needed since `warnings.catch_warnings` is not thread-safe.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Opened(NamedTuple):
    """A file whose header has been read.

    Attributes:
        image: Pillow's picture, not loaded.
        frames: Number of frames, of pages of a TIFF, or of pictures of a HEIF.
        truncated: Whether the file ends early, as in `Header.truncated`.
    """

    image: ImageFile.ImageFile
    frames: int
    truncated: bool


def _plugin(file_format: str) -> type[ImageFile.ImageFile]:
    """Returns Pillow's plugin for a format; PixelError if it needs an extra not installed."""
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
    """Reads a header with Pillow, without decoding pixels.

    Args:
        data: The whole file.
        file_format: The format, as from `sniff`.

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
    except Image.DecompressionBombError as error:  # from plugins that allocate for the header
        raise PixelError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:  # plugins raise many types of exceptions for damaged headers
        raise from_decoder(error, f"reading the {file_format} header", truncated) from error
    return Opened(image, frames, truncated)


def orientation_before(image: Image.Image, file_format: str) -> int:
    """Returns the orientation, 1 to 8, of a TIFF or HEIF before its reader rotated it upright.

    For a HEIF, this is the orientation in its EXIF block, which is equivalent to the rotations that
    the file itself specifies.
    """
    if file_format == "tiff":
        value = image.tag_v2.get(_ORIENTATION_TAG, 1)  # type: ignore[attr-defined]
    else:
        value = image.info.get("original_orientation")
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
