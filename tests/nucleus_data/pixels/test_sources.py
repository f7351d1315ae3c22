import contextlib
import struct
import warnings

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from nucleus_data.pixels import Limits, PixelError, Reason, open_picture
from tests.support.encoded import encode, reason_of, scene
from tests.support.quick import quick


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
@pytest.mark.parametrize("share", quick([0.9, 0.5], 1))
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


@pytest.mark.slow
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


def test_small_of_a_jpeg_averages_areas():
    image = scene(1600, 1000)
    small = open_picture(encode(image, "JPEG", quality=95)).small
    expected = np.asarray(image.resize((256, 160), Image.Resampling.BOX)).astype(int)
    assert small.shape == (160, 256, 3)
    assert np.abs(small - expected).mean() < 1.5
