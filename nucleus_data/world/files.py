"""Pictures to files: the clean formats, and files that are broken or rare.

Each function of `FILES` takes a picture, a strength (0 low, 1 middle, 2 high) and random numbers,
and gives the bytes; the suffix that belongs to them is in `SUFFIXES`, `.jpg` if it is not named.
"""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from nucleus_data.world.damage import png_chunk

SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
HTML = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>Not Found</body></html>\n"
# XYZ (D50) of the primaries of Display P3 and Adobe RGB (1998), as in their published profiles.
P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
ADOBE = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))


def encoded(picture: Image.Image, form: str, quality: int) -> bytes:
    """A clean file.

    Args:
        picture: RGB.
        form: A key of `SUFFIX`.
        quality: 1 to 100; PNG takes none.
    """
    stream = io.BytesIO()
    options = {"JPEG": {"quality": quality}, "WEBP": {"quality": quality, "method": 2}}
    picture.save(stream, form, **options.get(form, {"compress_level": 4}))
    return stream.getvalue()


def _saved(picture: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def _truncated(picture: Image.Image, strength: int, rng: np.random.Generator) -> bytes:
    data = encoded(picture, "JPEG", 85)
    return data[: round(len(data) * (0.97, 0.7, 0.35)[strength])]


def _corrupt(picture: Image.Image, strength: int, rng: np.random.Generator) -> bytes:
    """16, 200 or 1,000 zeros somewhere in the second half."""
    data = bytearray(encoded(picture, "JPEG", 85))
    count = min((16, 200, 1000)[strength], len(data) // 4)
    at = int(rng.integers(len(data) // 2, len(data) - count))
    data[at : at + count] = bytes(count)
    return bytes(data)


def _mislabelled(picture: Image.Image, strength: int, rng: np.random.Generator) -> bytes:
    return _saved(picture, ("PNG", "WEBP", "GIF")[strength])


def _bomb(picture: Image.Image, strength: int, rng: np.random.Generator) -> bytes:
    """A PNG of some hundred bytes that says it is 14,000, 30,000 or 65,000 pixels a side."""
    side = (14_000, 30_000, 65_000)[strength]

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", body)
        + png_chunk(b"IEND", b"")
    )


def _animated(picture: Image.Image, strength: int, rng: np.random.Generator) -> bytes:
    small = picture.resize((160, max(1, 160 * picture.height // picture.width)))
    frames = [small.rotate(10.0 * turn) for turn in range(1, (2, 4, 8)[strength])]
    return _saved(small, "GIF", save_all=True, append_images=frames, duration=200, loop=0)


def _sixteen_bit(picture: Image.Image, strength: int, rng: np.random.Generator) -> bytes:
    return _saved(Image.fromarray(np.asarray(picture.convert("L"), dtype=np.uint16) * 257), "PNG")


def _alpha(picture: Image.Image, strength: int, rng: np.random.Generator) -> bytes:
    """Opacity falls from left to right, to 60 %, to 0, or to 0 in the first half."""
    lowest, end = ((0.6, 1.0), (0.0, 1.0), (0.0, 0.5))[strength]
    x = np.linspace(0, 1, picture.width)
    opacity = np.clip(1 - (1 - lowest) * x / end, 0, 1) * 255
    rows = np.repeat(opacity[None, :].astype(np.uint8), picture.height, axis=0)
    picture = picture.copy()
    picture.putalpha(Image.fromarray(rows))
    return _saved(picture, "PNG")


def _with_profile(picture: Image.Image, strength: int, rng: np.random.Generator) -> bytes:
    """The same colours in another space: Display P3, Adobe RGB, or one with swapped primaries."""
    primaries = (P3, ADOBE, (P3[1], P3[2], P3[0]))[strength]
    profile = matrix_profile(primaries, gamma=2.2)
    there = ImageCms.profileToProfile(
        picture,
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    assert there is not None  # it is None only when it changes the picture in place
    return _saved(there, "JPEG", quality=92, icc_profile=profile)


def _oriented(picture: Image.Image, strength: int, rng: np.random.Generator) -> bytes:
    """Stored turned (right, left or upside down), with the EXIF orientation that undoes it."""
    orientation, turn = (
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (3, Image.Transpose.ROTATE_180),
    )[strength]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _saved(picture.transpose(turn), "JPEG", quality=88, exif=exif.tobytes())


def matrix_profile(primaries: tuple[tuple[float, ...], ...], gamma: float) -> bytes:
    """An ICC version 2 display profile of three primaries and one gamma (ICC.1:2001-04).

    Args:
        primaries: XYZ, relative to D50, of red, green and blue.
        gamma: The exponent of all three channels.
    """

    def fixed(values: tuple[float, ...]) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + fixed(values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"Nucleus world\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    described += bytes(-len(described) % 4)
    tags = {
        b"desc": described,
        b"cprt": b"text\0\0\0\0CC0\0",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **{n + b"XYZ": xyz(p) for n, p in zip((b"r", b"g", b"b"), primaries, strict=True)},
        **{n + b"TRC": curve for n in (b"r", b"g", b"b")},
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I", start + len(body)) + bytes(4) + struct.pack(">I", 0x02400000)
    head += b"mntrRGB XYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += fixed((0.9642, 1.0, 0.8249))
    return head.ljust(128, b"\0") + table + body


FILES: dict[str, Callable[[Image.Image, int, np.random.Generator], bytes]] = {
    "truncated": _truncated,
    "corrupt": _corrupt,
    "html": lambda picture, strength, rng: HTML * (1, 10, 100)[strength],
    "mislabelled": _mislabelled,
    "bomb": _bomb,
    "animated": _animated,
    "cmyk": lambda p, s, rng: _saved(p.convert("CMYK"), "JPEG", quality=(92, 85, 75)[s]),
    "sixteen_bit": _sixteen_bit,
    "palette": lambda p, s, rng: _saved(p.quantize((256, 64, 16)[s]), "PNG"),
    "alpha": _alpha,
    "profile": _with_profile,
    "oriented": _oriented,
    "over_compressed": lambda p, s, rng: encoded(p, "JPEG", (12, 5, 1)[s]),
}
SUFFIXES = {"bomb": ".png", "animated": ".gif", "sixteen_bit": ".png", "palette": ".png"}
SUFFIXES |= {"alpha": ".png"}
