import io

import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import PixelError, Reason
from nucleus_data.pixels.jpeg import MAX_SEGMENTS, MAX_STRAY, read_jpeg_header
from tests.support.encoded import encode, scene

EXIF = Image.Exif()
EXIF[0x0112] = 6


@pytest.mark.parametrize(("mode", "form"), [("RGB", "RGB"), ("L", "L"), ("CMYK", "CMYK")])
def test_what_stands_before_the_pixels_is_read(mode, form):
    image = scene(64, 48).convert(mode)
    data = encode(image, "JPEG", quality=80, exif=EXIF.tobytes(), icc_profile=b"a profile")
    header = read_jpeg_header(data)
    assert (header.width, header.height, header.mode) == (64, 48, form)
    assert header.exif.startswith(b"Exif\0\0")
    assert header.icc == b"a profile"
    assert header.one_scan
    assert len(header.quantisation) == 64
    assert data[header.scan : header.scan + 2] == b"\xff\xda"


def test_the_core_is_the_same_picture_without_its_metadata():
    image = scene(64, 48)
    data = encode(image, "JPEG", quality=80, exif=EXIF.tobytes(), comment=b"x" * 5000)
    header = read_jpeg_header(data)
    bare = header.core + data[header.scan :]
    assert len(bare) < len(data) - 5000
    again = read_jpeg_header(bare)
    assert (again.exif, again.icc, again.core) == (None, None, header.core)
    with Image.open(io.BytesIO(data)) as first, Image.open(io.BytesIO(bare)) as second:
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def test_a_progressive_picture_has_more_than_one_scan():
    assert not read_jpeg_header(encode(scene(64, 48), "JPEG", progressive=True)).one_scan


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (b"", Reason.TRUNCATED),
        (b"\xff\xe0\x00\x01", Reason.CORRUPT),  # a segment of no length
        (b"\xff\xe0\x10\x00JFIF", Reason.TRUNCATED),
        (b"\xff\xda\x00\x02", Reason.CORRUPT),  # a scan before the frame's header
        (b"\xff\xd9", Reason.CORRUPT),
        (b"\0" * (MAX_STRAY + 10), Reason.TOO_COSTLY),
        (b"\xff\xfe\x00\x02" * (MAX_SEGMENTS + 1), Reason.TOO_COSTLY),
    ],
)
def test_a_header_that_can_t_be_read_says_why(after, reason):
    with pytest.raises(PixelError) as caught:
        read_jpeg_header(b"\xff\xd8" + after)
    assert caught.value.reason is reason
