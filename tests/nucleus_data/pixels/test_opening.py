import struct
import zlib

from nucleus_data.pixels import Limits, Reason, open_picture
from tests.support.encoded import encode, reason_of, scene, solid


def png_header(width, height):
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", ihdr), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        out += struct.pack(">I", len(body)) + kind + body
        out += struct.pack(">I", zlib.crc32(kind + body))
    return out


def test_header_is_known_without_decoding_any_pixel():
    data = encode(scene(), "PNG")
    header = open_picture(data[: len(data) // 2]).header
    assert (header.format, header.width, header.height, header.mode) == ("png", 320, 200, "RGB")
    assert (header.frames, header.orientation, header.bytes) == (1, 1, len(data) // 2)
    assert not header.has_icc
    assert not header.has_alpha


def test_limits_stop_before_any_pixel():
    assert reason_of(png_header(60_000, 60_000)) is Reason.TOO_MANY_PIXELS
    assert reason_of(png_header(20_000, 10)) is Reason.TOO_EXTREME
    small = encode(solid("red"), "PNG")
    assert reason_of(small, Limits(max_pixels=1199)) is Reason.TOO_MANY_PIXELS
    assert reason_of(small, Limits(max_bytes=len(small) - 1)) is Reason.TOO_MANY_BYTES
    assert reason_of(small, Limits(max_aspect=1.3)) is Reason.TOO_EXTREME
    exact = Limits(max_pixels=1200, max_bytes=len(small), max_aspect=4 / 3)
    assert open_picture(small, exact).luma_full.shape == (30, 40)


def test_jpeg_and_webp_bombs():
    jpeg = bytearray(encode(solid("red"), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    assert reason_of(bytes(jpeg)) is Reason.TOO_MANY_PIXELS
    body = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xfe\x3f\0" * 2
    webp = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    assert reason_of(webp) in (Reason.TOO_MANY_PIXELS, Reason.CORRUPT)
