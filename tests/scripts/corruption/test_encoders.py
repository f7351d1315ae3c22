"""The ways in which clean JPEGs are written."""

import io

import pytest
from PIL import ExifTags, Image

from nucleus_data.pixels import open_picture
from scripts import bench_corruption
from scripts.corruption.encoders import WAYS
from tests.scripts.corruption.noisy import scene


@pytest.mark.parametrize("way", WAYS)
def test_every_way_writes_a_clean_jpeg(way):
    data = WAYS[way](scene())
    assert data.startswith(b"\xff\xd8")
    assert bench_corruption.our_reason(data) == "ok"
    assert min(open_picture(data).luma_full.shape) >= 300


def test_a_thumbnail_is_in_the_second_directory():
    exif = Image.open(io.BytesIO(WAYS["EXIF thumbnail"](scene()))).getexif()
    second = exif.get_ifd(ExifTags.IFD.IFD1)
    start = second[ExifTags.Base.JpegIFOffset]
    assert start == 72
    data = WAYS["EXIF thumbnail"](scene())
    at = data.index(b"Exif\0\0") + 6 + start
    thumbnail = data[at : at + second[ExifTags.Base.JpegIFByteCount]]
    assert max(Image.open(io.BytesIO(thumbnail)).size) == 160
