"""The bits of Pillow's resizing, by another way."""

import io

import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import open_picture
from nucleus_data.pixels.picture import _QUICK
from nucleus_data.pixels.resize import FILTERS, resized

EXIF = Image.Exif()


def words(pixels):
    """A word a pixel, of which the last byte is anything."""
    rest = np.full((*pixels.shape[:2], 1), 173, np.uint8)
    return np.ascontiguousarray(np.concatenate([pixels, rest], axis=2)).view(np.uint32)[:, :, 0]


def noise(height, width, seed=0):
    """Pixels whose sums overshoot: many are 0 or 255."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 2, (height, width, 3), np.uint8) * 255) ^ rng.integers(
        0, 4, (height, width, 3), np.uint8
    )


def test_the_filters_are_those_that_a_picture_asks_for():
    assert set(_QUICK) == set(FILTERS)


@pytest.mark.parametrize("resample", FILTERS)
def test_the_bits_are_pillow_s(resample):
    rng = np.random.default_rng(int(resample))
    for number in range(120):
        (height, rows), (width, columns) = rng.integers(1, 130, (2, 2))
        if number % 5 == 0:
            columns = width  # one pass, or none
        if number % 7 == 0:
            rows = height
        pixels = noise(rows, columns, number)
        left, right = np.sort(rng.uniform(0, columns, 2))
        top, bottom = np.sort(rng.uniform(0, rows, 2))
        box = (0, 0, columns, rows)
        if number % 3 and right - left > 0.1 and bottom - top > 0.1:
            box = (left, top, right, bottom)
        box, size = tuple(map(float, box)), (int(width), int(height))
        expected = np.asarray(Image.fromarray(pixels).resize(size, resample, box))
        found = resized(words(pixels), size, resample, box)
        assert np.array_equal(found, expected), (pixels.shape, size, box)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("crop", [None, (3, 5, 300, 170), (40.5, 0, 61.25, 17)])
def test_a_jpeg_has_the_bits_of_its_scaled_decode_and_pillow(turn, crop, monkeypatch):
    EXIF[0x0112] = turn
    stream = io.BytesIO()
    size = (401, 303) if turn < 5 else (303, 401)
    picture = Image.fromarray(noise(30, 40)).resize(size)
    picture.save(stream, "JPEG", quality=90, exif=EXIF)
    target = (64, 37)
    found = open_picture(stream.getvalue()).rgb(crop=crop, size=target)
    monkeypatch.setattr("nucleus_data.pixels.picture._QUICK", ())
    expected = open_picture(stream.getvalue()).rgb(crop=crop, size=target)
    assert found.shape == (37, 64, 3)
    assert np.array_equal(found, expected)
