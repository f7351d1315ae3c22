import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from nucleus_data.pixels import Reason, colour, open_picture
from nucleus_data.pixels.colour import GREY, WHITE
from tests.support.encoded import encode, reason_of, solid


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (solid((255, 0, 0, 0), "RGBA"), (255, 255, 255)),
        (solid((0, 0, 0, 51), "RGBA"), (204, 204, 204)),
        (solid((0, 51), "LA"), (204, 204, 204)),
        (solid((10, 200, 30, 255), "RGBA"), (10, 200, 30)),
    ],
)
def test_alpha_is_laid_over_white(image, expected):
    picture = open_picture(encode(image, "PNG"))
    assert picture.header.has_alpha
    assert picture.small[7, 7].tolist() == list(expected)
    assert picture.rgb()[0, 0].tolist() == list(expected)


def test_transparent_palette_entry_and_transparent_colour():
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    opaque = open_picture(encode(palette, "PNG"))
    assert (opaque.header.mode, opaque.header.has_alpha) == ("P", False)
    assert opaque.small[0, 0].tolist() == [0, 0, 255]
    clear = open_picture(encode(palette, "PNG", transparency=1))
    assert clear.header.has_alpha
    assert clear.small[0, 0].tolist() == [255, 255, 255]
    keyed = open_picture(encode(solid((9, 8, 7)), "PNG", transparency=(9, 8, 7)))
    assert keyed.header.has_alpha
    assert keyed.small[0, 0].tolist() == [255, 255, 255]


def test_16_bit_grey_keeps_its_ends():
    values = np.array([[0, 257 * 100, 65535]] * 3, dtype=np.uint16)
    picture = open_picture(encode(Image.fromarray(values), "PNG"))
    assert picture.header.mode == "I;16"
    assert picture.luma_full[1].tolist() == [0, 100, 255]
    assert picture.rgb()[1, 1].tolist() == [100, 100, 100]


def test_one_bit_and_grey():
    bits = open_picture(encode(solid(1, "1"), "PNG"))
    assert bits.header.mode == "1"
    assert bits.luma_full.min() == 255
    grey = open_picture(encode(solid(77, "L"), "JPEG"))
    assert grey.header.mode == "L"
    assert grey.luma_full[3, 3] == 77
    assert grey.small[3, 3].tolist() == [77, 77, 77]


def test_cmyk_jpeg_is_not_inverted():
    image = solid((0, 255, 255, 0), "CMYK", (64, 48))  # red
    picture = open_picture(encode(image, "JPEG", quality=100))
    assert picture.header.mode == "CMYK"
    red, green, blue = picture.rgb()[20, 20].tolist()
    assert red > 250
    assert green < 5
    assert blue < 5
    assert 70 <= picture.luma_full[20, 20] <= 80
    large = open_picture(encode(image.resize((2048, 1024)), "JPEG"))
    assert large.small.shape == (128, 256, 3)
    assert large.small[9, 9, 0] > 250


def swapped_profile():
    """An sRGB profile with the red and green primaries exchanged: nobody can overlook it."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = icc.index(b"rXYZ"), icc.index(b"gXYZ")
    icc[red : red + 4], icc[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(icc)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_colour_profile_is_applied(file_format):
    options = {"quality": 100, "subsampling": 0} if file_format == "JPEG" else {}
    if file_format == "WEBP":
        options = {"lossless": True}
    data = encode(solid((255, 0, 0)), file_format, icc_profile=swapped_profile(), **options)
    picture = open_picture(data)
    assert picture.header.has_icc
    for pixel in (picture.small[5, 5], picture.rgb()[5, 5]):
        assert pixel[0] < 20
        assert pixel[1] > 235


def test_useless_profiles_are_ignored():
    for profile in (b"not a profile", swapped_profile()[:200]):
        picture = open_picture(encode(solid((200, 10, 10)), "PNG", icc_profile=profile))
        assert picture.small[0, 0].tolist() == [200, 10, 10]
    grey = open_picture(encode(solid(90, "L"), "PNG", icc_profile=swapped_profile()))
    assert grey.small[0, 0].tolist() == [90, 90, 90]


def test_float_pixels_have_no_white():
    data = encode(Image.new("F", (8, 8), 0.5), "TIFF")
    assert reason_of(data) is Reason.UNSUPPORTED_MODE


def drawing(fill, share=0.3, mode="RGBA", outline=None):
    """A disc of one colour on nothing, over a share of the picture."""
    image = Image.new("RGBA", (200, 160), (0, 0, 0, 0))
    radius = (share * 200 * 160 / np.pi) ** 0.5
    box = (100 - radius, 80 - radius, 100 + radius, 80 + radius)
    ImageDraw.Draw(image).ellipse(box, fill=fill, outline=outline)
    return image.convert(mode)


@pytest.mark.parametrize(
    "image",
    [
        drawing((255, 255, 255, 255)),
        drawing((255, 255, 255, 255), mode="LA"),
        drawing((255, 255, 255, 255), 0.02),
        drawing((240, 245, 235, 255), outline=(30, 30, 30, 255)),
        drawing((255, 255, 255, 120)),
        drawing((250, 250, 250, 255), 0.3).quantize(4),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_a_light_drawing_is_laid_over_grey_in_every_view(image, file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    picture = open_picture(encode(image, file_format, **options))
    assert picture.luma_full[0, 0] == picture.small[0, 0, 0] == picture.rgb()[0, 0, 0] == GREY
    assert picture.luma_full[80, 100] > 180


@pytest.mark.parametrize(
    "image",
    [
        drawing((200, 30, 30, 255)),
        drawing((0, 0, 0, 255), 0.001),  # nothing much, on any ground
        drawing((0, 0, 0, 8)),  # a faint shadow
        drawing((255, 255, 255, 0)),  # nothing at all
        drawing((255, 220, 0, 255)),  # yellow is seen on white
        Image.blend(drawing((255, 255, 255, 255)), drawing((20, 20, 20, 255), 0.1), 0.5),
    ],
)
def test_what_white_shows_stays_on_white(image):
    picture = open_picture(encode(image, "PNG"))
    assert picture.luma_full[0, 0] == picture.rgb()[0, 0, 0] == WHITE


def test_the_ground_is_that_of_the_whole_picture_not_of_its_bands(monkeypatch):
    image = drawing((255, 255, 255, 255))
    half = image.copy()
    half.paste((0, 0, 0, 255), (0, 120, 200, 160))  # a dark strip below: white shows the picture
    monkeypatch.setattr(colour, "_BAND_PIXELS", 200 * 8)
    assert open_picture(encode(image, "PNG")).luma_full[0, 0] == GREY
    assert open_picture(encode(half, "PNG")).luma_full[0, 0] == WHITE
