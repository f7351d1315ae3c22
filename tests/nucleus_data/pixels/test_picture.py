import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nucleus_data.pixels import fit, open_picture
from nucleus_data.pixels.sources import JpegSource
from tests.support.encoded import ORIENTATION, STORED, encode, scene, solid


def test_small_is_never_enlarged_and_never_empty():
    assert open_picture(encode(scene(100, 60), "PNG")).small.shape == (60, 100, 3)
    assert open_picture(encode(scene(900, 2), "PNG")).small.shape == (1, 256, 3)
    assert open_picture(encode(solid("red", size=(1, 1)), "JPEG")).small.shape == (1, 1, 3)


def test_cached_views_are_read_only_and_rgb_is_not():
    for file_format in ("JPEG", "PNG"):
        picture = open_picture(encode(scene(), file_format))
        for view in (picture.luma_full, picture.small, picture.luma_small):
            assert not view.flags.writeable
            assert view.dtype == np.uint8
        assert picture.small is picture.small
        picture.rgb()[:] = 0
        assert picture.rgb().max() > 0


def test_rgb_crops_and_sizes():
    picture = open_picture(encode(scene(), "PNG"))
    whole = np.asarray(scene())
    assert np.array_equal(picture.rgb(), whole)
    assert np.array_equal(picture.rgb(crop=(10, 20, 110, 90)), whole[20:90, 10:110])
    assert picture.rgb(max_side=100).shape == (62, 100, 3)
    assert picture.rgb(max_side=1000).shape == (200, 320, 3)
    assert picture.rgb(size=(640, 64)).shape == (64, 640, 3)
    assert picture.rgb(crop=(0, 0, 100, 50), max_side=50).shape == (25, 50, 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [(1201, 803), (1200, 800)])
def test_rgb_crop_from_a_scaled_jpeg_is_where_it_should_be(orientation, size):
    upright = scene(*size)
    stored = upright if orientation == 1 else upright.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = open_picture(encode(stored, "JPEG", quality=95, exif=exif.tobytes()))
    crop = (300, 100, 1100, 700)
    found = picture.rgb(crop=crop, size=(160, 120)).astype(int)
    expected = upright.resize((160, 120), Image.Resampling.LANCZOS, box=crop)
    assert np.abs(found - np.asarray(expected)).mean() < 1.5


@pytest.mark.parametrize(
    ("mode", "orientation", "size", "direct"),
    [
        ("RGB", 1, (320, 200), True),
        ("RGB", 1, (160, 100), True),
        ("RGB", 1, (40, 25), True),
        ("RGB", 1, (160, 101), False),
        ("RGB", 1, (107, 67), False),  # a third of it, rounded up
        ("RGB", 6, (200, 320), False),
        ("L", 1, (320, 200), False),
        ("CMYK", 1, (320, 200), False),
    ],
)
def test_a_jpeg_at_a_scale_of_its_own_needs_no_image(monkeypatch, mode, orientation, size, direct):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encode(scene(320, 200).convert(mode), "JPEG", quality=95, exif=exif.tobytes())
    images, image, words = [], JpegSource.image, JpegSource.words
    monkeypatch.setattr(JpegSource, "image", lambda *of: images.append(of) or image(*of))
    monkeypatch.setattr(JpegSource, "words", lambda *of: images.append(of) or words(*of))
    found = open_picture(data).rgb(size=size)
    assert found.flags.writeable
    assert bool(images) != direct
    monkeypatch.setattr(JpegSource, "rgb", lambda *_: None)
    np.testing.assert_array_equal(found, open_picture(data).rgb(size=size))


@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced_is_the_decoder_s_own_scale_and_large_enough(orientation):
    """No side is shorter than asked for, unless the picture's own is."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    whole = scene(320, 200)
    jpeg = encode(whole, "JPEG", quality=95, subsampling=0, exif=exif.tobytes())
    turned = {1: (200, 320), 6: (320, 200)}[orientation]
    for least, factor in ((26, 4), (25, 8), (50, 4), (51, 2), (100, 2), (101, 1), (900, 1)):
        pixels = open_picture(jpeg).reduced(least)
        assert pixels.shape == (turned[0] // factor, turned[1] // factor, 3)
        blocks = (
            open_picture(jpeg)
            .rgb()
            .reshape(turned[0] // factor, factor, turned[1] // factor, factor, 3)
        )
        assert np.abs(pixels - blocks.mean((1, 3))).mean() < 3
    np.testing.assert_array_equal(open_picture(jpeg).reduced(101), open_picture(jpeg).rgb())
    png = encode(whole, "PNG")
    np.testing.assert_array_equal(open_picture(png).reduced(10), open_picture(png).rgb())


def test_rgb_refuses_nonsense():
    picture = open_picture(encode(scene(), "PNG"))
    for crop in ((0, 0, 321, 10), (5, 5, 5, 9), (-1, 0, 3, 3)):
        with pytest.raises(ValueError, match="crop must lie inside 0, 0, 320, 200"):
            picture.rgb(crop=crop)
    with pytest.raises(ValueError, match="not both"):
        picture.rgb(max_side=3, size=(3, 3))
    with pytest.raises(ValueError, match="positive"):
        picture.rgb(size=(0, 3))
    with pytest.raises(ValueError, match="max_side"):
        picture.rgb(max_side=0)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 1024))
def test_fit_keeps_the_aspect(width, height, side):
    new_width, new_height = fit(width, height, side)
    assert 1 <= new_width <= width
    assert 1 <= new_height <= height
    assert max(new_width, new_height) == min(side, max(width, height))
    scale = max(new_width, new_height) / max(width, height)
    assert abs(new_width - width * scale) <= 1
    assert abs(new_height - height * scale) <= 1
