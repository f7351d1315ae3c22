import pytest

from nucleus_data.pixels import Reason, declared_format, open_picture
from tests.support.encoded import encode, reason_of, solid


@pytest.mark.parametrize(
    ("pillow_format", "name"),
    [
        ("JPEG", "jpeg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("AVIF", "avif"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
        ("TIFF", "tiff"),
        ("MPO", "jpeg"),
        ("JPEG2000", "jp2"),
    ],
)
def test_formats_are_told_by_their_bytes(pillow_format, name):
    picture = open_picture(encode(solid((250, 250, 250)), pillow_format))
    assert picture.header.format == name
    assert picture.header.frames == 1
    assert picture.luma_full.shape == (30, 40)
    assert abs(int(picture.luma_full[5, 5]) - 250) <= 2


def test_declared_format():
    assert declared_format("a/b.c/IMG.JPG") == "jpeg"
    assert declared_format("x.tif") == "tiff"
    assert declared_format("x.php") is None
    assert declared_format("x") is None
    assert declared_format(None) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"<!DOCTYPE html><html><body>404</body></html>", Reason.NOT_AN_IMAGE),
        ('{"error": "verschlüsselt"}'.encode(), Reason.NOT_AN_IMAGE),
        (b"%PDF-1.4\n%\xe2\xe3", Reason.NOT_AN_IMAGE),
        (b"RIFF\x24\0\0\0WAVEfmt ", Reason.NOT_AN_IMAGE),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", Reason.NOT_AN_IMAGE),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Reason.CORRUPT),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', Reason.UNSUPPORTED_FORMAT),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", Reason.UNSUPPORTED_FORMAT),
        (b"P6 2 2 255 " + bytes(12), Reason.UNSUPPORTED_FORMAT),
        (b"\0\0\0\x0cjP  \r\n\x87\n", Reason.TRUNCATED),
        (b"qoif" + bytes(40), Reason.UNSUPPORTED_FORMAT),
        (bytes(range(1, 64)), Reason.UNKNOWN_FORMAT),
        (b"\xff\xd8\xff\xd8" + b"junk" * 50, Reason.CORRUPT),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, Reason.CORRUPT),
    ],
)
def test_what_is_not_a_picture_says_why(data, reason):
    assert reason_of(data) is reason
