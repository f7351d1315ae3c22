import io

import pytest
from PIL import Image

from nucleus_data.pixels import PixelError, thumbnail_jpeg
from tests.support.encoded import ORIENTATION, encode, scene


def test_thumbnail_is_a_small_upright_jpeg():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encode(scene(), "PNG", exif=exif.tobytes())
    thumbnail = Image.open(io.BytesIO(thumbnail_jpeg(data, 64)))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (40, 64))
    assert not thumbnail.getexif()
    with pytest.raises(PixelError):
        thumbnail_jpeg(b"<html>", 64)
