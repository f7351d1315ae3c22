"""Who writes the files of `scripts/bench_corruption.py`: encoders and their options.

`JPEGS` and `OTHERS` are damaged afterwards. `WAYS` are for clean files only: what cameras, phones
and web servers put around or into a JPEG, and flat grounds, whose coded data are runs of one bit.
"""

import io
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

Encode = Callable[[Image.Image], bytes]
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"


def _pillow(form: str = "JPEG", **options: object) -> Encode:
    def encode(image: Image.Image) -> bytes:
        stream = io.BytesIO()
        image.save(stream, form, **options)
        return stream.getvalue()

    return encode


def _opencv(*options: int) -> Encode:
    return lambda image: cv2.imencode(".jpg", np.asarray(image)[..., ::-1], options)[1].tobytes()


def _turbo(quality: int, subsampling: str) -> Encode:
    return lambda image: simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorsubsampling=subsampling
    )


JPEGS: dict[str, Encode] = {
    "Pillow 75": _pillow(quality=75),
    "Pillow 85": _pillow(quality=85),
    "Pillow 95, 4:4:4": _pillow(quality=95, subsampling=0),
    "Pillow 88, optimised": _pillow(quality=88, optimize=True),
    "Pillow 85, progressive": _pillow(quality=85, progressive=True),
    "OpenCV 95": _opencv(cv2.IMWRITE_JPEG_QUALITY, 95),
    "OpenCV 90, restarts": _opencv(cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_RST_INTERVAL, 16),
    "simplejpeg 85, 4:4:4": _turbo(85, "444"),
    "simplejpeg 80, 4:2:0": _turbo(80, "420"),
}
OTHERS: dict[str, Encode] = {
    "PNG": _pillow("PNG", compress_level=1),
    "TIFF, deflate": _pillow("TIFF", compression="tiff_adobe_deflate"),
    "GIF": _pillow("GIF"),
    "WebP": _pillow("WEBP", method=0),
    "AVIF": _pillow("AVIF", speed=10),
}


def _with_thumbnail(image: Image.Image) -> bytes:
    """EXIF 2.32 with a second directory, whose picture is a JPEG of its own."""
    small = image.copy()
    small.thumbnail((160, 160))
    thumbnail = _pillow(quality=60)(small)
    entries = [(0x0103, 3, 1, 6), (0x0201, 4, 1, 72), (0x0202, 4, 1, len(thumbnail))]
    tiff = b"II*\0" + struct.pack("<I", 8)
    tiff += struct.pack("<HHHII", 1, 0x0112, 3, 1, 1) + struct.pack("<I", 26)
    tiff += struct.pack("<H", len(entries))
    tiff += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    tiff = tiff.ljust(72, b"\0") + thumbnail
    body = b"Exif\0\0" + tiff
    return (
        _SOI
        + b"\xff\xe1"
        + struct.pack(">H", len(body) + 2)
        + body
        + _pillow(quality=90)(image)[2:]
    )


def _padded(image: Image.Image) -> bytes:
    """Zeros between the coded data and the end, 1 to 4,096, by the picture's size."""
    data = _pillow(quality=85)(image)
    return data[:-2] + bytes(1 + len(data) % 4096) + _EOI


def _two_pictures(image: Image.Image) -> bytes:
    """A preview and zeros behind the end, as phones write."""
    return _pillow(quality=85)(image) + _pillow(quality=50)(image.reduce(4)) + bytes(5000)


def _on_ground(color: str, **options: object) -> Encode:
    def encode(image: Image.Image) -> bytes:
        ground = Image.new("RGB", (2 * image.width, 2 * image.height), color)
        ground.paste(image, (image.width // 2, image.height // 3))
        return _pillow(**options)(ground)

    return encode


def _as_mode(mode: str) -> Encode:
    return lambda image: _pillow(quality=85)(image.convert(mode))


def _command(*words: str) -> Encode:
    """A program that is given the names of a PPM and of the JPEG to write."""

    def encode(image: Image.Image) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, result = Path(folder) / "a.ppm", Path(folder) / "a.jpg"
            image.save(source)
            named = [{"IN": str(source), "OUT": str(result)}.get(word, word) for word in words]
            subprocess.run(named, check=True, capture_output=True, timeout=60)
            return result.read_bytes()

    return encode


_COMMANDS = {
    "cjpeg 80, restarts": ("cjpeg", "-quality", "80", "-restart", "1", "-outfile", "OUT", "IN"),
    "cjpeg 92, progressive": ("cjpeg", "-quality", "92", "-progressive", "-outfile", "OUT", "IN"),
    "cjpeg 60, 4:1:1": ("cjpeg", "-quality", "60", "-sample", "4x1", "-outfile", "OUT", "IN"),
    "ISO reference 85": ("jpeg", "-q", "85", "-h", "IN", "OUT"),
}
WAYS: dict[str, Encode] = {
    **JPEGS,
    "EXIF thumbnail": _with_thumbnail,
    "zeros before the end": _padded,
    "a second picture behind": _two_pictures,
    "on white, optimised": _on_ground("white", quality=85, optimize=True),
    "on black, progressive": _on_ground("black", quality=85, progressive=True),
    "grey": _as_mode("L"),
    "CMYK": _as_mode("CMYK"),
    **{name: _command(*words) for name, words in _COMMANDS.items() if shutil.which(words[0])},
}
