from itertools import product

import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import open_picture
from nucleus_data.pixels.exif import read_orientation
from tests.support.encoded import ORIENTATION, STORED, encode, scene
from tests.support.quick import quick


@pytest.mark.parametrize(
    ("file_format", "orientation"),
    quick(
        [
            *product(["JPEG", "TIFF"], range(1, 9)),  # the tag in EXIF, and in the picture
            *product(["PNG", "WEBP", "AVIF"], [1, 6, 7]),
        ],
        [*product(["JPEG"], range(1, 9)), *product(["TIFF", "PNG", "WEBP", "AVIF"], [6])],
        2,
    ),
)
def test_all_orientations_show_the_same_upright_picture(file_format, orientation):
    upright = scene()
    stored = upright
    if STORED[orientation] is not None:
        stored = upright.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"quality": 95} if file_format in ("JPEG", "AVIF") else {}
    if file_format == "WEBP":
        options = {"lossless": True}
    picture = open_picture(encode(stored, file_format, exif=exif.tobytes(), **options))

    assert picture.header.orientation == orientation
    assert (picture.header.width, picture.header.height) == (320, 200)
    assert picture.luma_full.shape == (200, 320)
    assert picture.small.shape == (160, 256, 3)
    tolerance = 12 if file_format in ("JPEG", "AVIF") else 1
    difference = picture.rgb().astype(int) - np.asarray(upright)
    assert np.abs(difference).mean() < tolerance / 3
    quarters = np.asarray(upright).repeat(4, axis=0).repeat(4, axis=1)
    expected = quarters.reshape(160, 5, 256, 5, 3).mean(axis=(1, 3))
    assert np.abs(picture.small - expected).mean() < tolerance / 3
    luma = np.asarray(upright.convert("L")).astype(int)
    assert np.abs(picture.luma_full - luma).mean() < tolerance / 3


def test_damaged_exif_means_upright():
    assert read_orientation(b"Exif\0\0II*\0\xff\xff\xff\x7f") == 1
    assert read_orientation(b"Exif\0\0MM\0*\0\0\0\x08\0\x09") == 1
    assert read_orientation(b"nonsense") == 1
    assert read_orientation(None) == 1
