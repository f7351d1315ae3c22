import contextlib
import io
import pickle
import struct
import warnings
import zlib

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from nucleus_data.pixels import (
    Limits,
    PixelError,
    Reason,
    declared_format,
    fit,
    open_picture,
    thumbnail_jpeg,
)
from nucleus_data.pixels.exif import read_orientation

ORIENTATION = 0x0112
# What a camera would have stored so that orientation N brings the picture upright.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encode(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def scene(width=320, height=200, seed=0):
    """Smooth blobs of colour with a bright corner: no symmetry, compresses well."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    image.paste((255, 240, 0), (0, 0, width // 4, height // 5))
    return image


def solid(colour, mode="RGB", size=(40, 30)):
    return Image.new(mode, size, colour)


def reason_of(data, limits=None):
    with pytest.raises(PixelError) as caught:
        _ = open_picture(data, limits or Limits()).luma_full
    return caught.value.reason


def png_header(width, height):
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", ihdr), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        out += struct.pack(">I", len(body)) + kind + body
        out += struct.pack(">I", zlib.crc32(kind + body))
    return out


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
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


def test_header_is_known_without_decoding_any_pixel():
    data = encode(scene(), "PNG")
    header = open_picture(data[: len(data) // 2]).header
    assert (header.format, header.width, header.height, header.mode) == ("png", 320, 200, "RGB")
    assert (header.frames, header.orientation, header.bytes) == (1, 1, len(data) // 2)
    assert not header.has_icc
    assert not header.has_alpha


def test_damaged_exif_means_upright():
    assert read_orientation(b"Exif\0\0II*\0\xff\xff\xff\x7f") == 1
    assert read_orientation(b"Exif\0\0MM\0*\0\0\0\x08\0\x09") == 1
    assert read_orientation(b"nonsense") == 1
    assert read_orientation(None) == 1


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


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_shows_its_first_frame(file_format):
    frames = [solid(colour, size=(32, 24)) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    picture = open_picture(data)
    assert picture.header.frames == 3
    assert picture.small[10, 10].tolist() == [255, 0, 0]


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
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Reason.UNSUPPORTED_FORMAT),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', Reason.UNSUPPORTED_FORMAT),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", Reason.UNSUPPORTED_FORMAT),
        (b"P6 2 2 255 " + bytes(12), Reason.UNSUPPORTED_FORMAT),
        (b"\0\0\0\x0cjP  \r\n\x87\n", Reason.UNSUPPORTED_FORMAT),
        (b"qoif" + bytes(40), Reason.UNSUPPORTED_FORMAT),
        (bytes(range(1, 64)), Reason.UNKNOWN_FORMAT),
        (b"\xff\xd8\xff\xd8" + b"junk" * 50, Reason.CORRUPT),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, Reason.CORRUPT),
    ],
)
def test_what_is_not_a_picture_says_why(data, reason):
    assert reason_of(data) is reason


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("AVIF", {}),
        ("TIFF", {}),
        ("BMP", {}),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files_are_errors(file_format, options, share):
    data = encode(scene(), file_format, **options)
    assert reason_of(data[: int(len(data) * share)]) is Reason.TRUNCATED


def test_truncated_jpeg_is_noticed_by_every_view():
    data = encode(scene(1200, 900), "JPEG")
    cut = data[: len(data) * 3 // 4]
    for view in (
        lambda p: p.luma_full,
        lambda p: p.small,
        lambda p: p.luma_small,
        lambda p: p.rgb(max_side=64),
    ):
        with pytest.raises(PixelError, match="truncated"):
            view(open_picture(cut))


def test_corrupt_jpeg_that_pillow_passes_over():
    data = bytearray(encode(scene(), "JPEG"))
    data[len(data) // 2 : len(data) // 2 + 2] = b"\xff\xd9"  # an early end-of-image marker
    assert reason_of(bytes(data)) is Reason.DAMAGED_DATA


def test_corrupt_cmyk_jpeg():
    data = bytearray(encode(scene().convert("CMYK"), "JPEG"))
    data[len(data) // 2 : len(data) // 2 + 2] = b"\xff\xd9"
    assert reason_of(bytes(data)) is Reason.DAMAGED_DATA


def test_harmless_oddity_of_a_jpeg_is_no_error():
    data = bytearray(encode(scene(), "JPEG", quality=95))
    data[data.index(b"JFIF") + 5] = (
        9  # an unknown JFIF revision: libjpeg warns, all pixels are there
    )
    with pytest.raises(ValueError, match="unknown JFIF"):
        simplejpeg.decode_jpeg(bytes(data))
    picture = open_picture(bytes(data))
    assert np.abs(picture.rgb().astype(int) - np.asarray(scene())).mean() < 4
    assert picture.luma_full.shape == (200, 320)
    assert reason_of(bytes(data[: len(data) // 2])) is Reason.TRUNCATED


@pytest.mark.parametrize("marker", [b"\xff\xdb", b"\xff\xc0"])
def test_stray_bytes_in_a_jpeg_header_are_no_error(marker):
    data = encode(scene(), "JPEG", quality=95)
    at = data.index(marker)
    stray = data[:at] + b"\1\2\3" + data[at:]
    with pytest.raises(ValueError, match="extraneous bytes"):
        simplejpeg.decode_jpeg(stray)
    picture = open_picture(stray)
    assert np.abs(picture.rgb().astype(int) - np.asarray(scene())).mean() < 4
    assert reason_of(stray[: len(stray) // 2]) is Reason.TRUNCATED


def test_garbage_after_the_end_is_no_error():
    assert open_picture(encode(scene(), "JPEG") + b"\0" * 100).luma_full.shape == (200, 320)


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


def test_pillow_warnings_do_not_leak():
    odd = bytearray(encode(scene(), "TIFF"))
    count_at = struct.unpack_from("<I", odd, 4)[0]
    struct.pack_into("<HHII", odd, count_at + 2 + 12 * 6, 0x010E, 2, 9999, 10**8)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with contextlib.suppress(PixelError):
            _ = open_picture(bytes(odd)).luma_full
        large = encode(Image.new("1", (10_000, 9_500)), "PNG")  # above Pillow's own limit
        assert open_picture(large, Limits(max_pixels=2**27)).header.width == 10_000
    assert seen == []


def test_small_is_never_enlarged_and_never_empty():
    assert open_picture(encode(scene(100, 60), "PNG")).small.shape == (60, 100, 3)
    assert open_picture(encode(scene(900, 2), "PNG")).small.shape == (1, 256, 3)
    assert open_picture(encode(solid("red", size=(1, 1)), "JPEG")).small.shape == (1, 1, 3)


def test_small_of_a_jpeg_averages_areas():
    image = scene(1600, 1000)
    small = open_picture(encode(image, "JPEG", quality=95)).small
    expected = np.asarray(image.resize((256, 160), Image.Resampling.BOX)).astype(int)
    assert small.shape == (160, 256, 3)
    assert np.abs(small - expected).mean() < 1.5


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


def test_float_pixels_have_no_white():
    data = encode(Image.new("F", (8, 8), 0.5), "TIFF")
    assert reason_of(data) is Reason.UNSUPPORTED_MODE


def test_thumbnail_is_a_small_upright_jpeg():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encode(scene(), "PNG", exif=exif.tobytes())
    thumbnail = Image.open(io.BytesIO(thumbnail_jpeg(data, 64)))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (40, 64))
    assert not thumbnail.getexif()
    with pytest.raises(PixelError):
        thumbnail_jpeg(b"<html>", 64)


def test_pixel_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(PixelError(Reason.CORRUPT, "bad")))
    assert (error.reason, error.detail, str(error)) == (Reason.CORRUPT, "bad", "corrupt: bad")
