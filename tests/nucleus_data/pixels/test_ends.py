"""A file without its end: alike in every format, whatever its decoder makes of it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from nucleus_data.pixels import PixelError, Reason, open_picture
from tests.support.encoded import encode, reason_of, scene

EXIF = Image.Exif()
EXIF[0x010E] = "what a camera says" * 5
SMALL = scene(96, 64)
FILES = {
    "jpeg": encode(SMALL, "JPEG", quality=90),
    "progressive": encode(SMALL, "JPEG", progressive=True),
    "grey jpeg": encode(SMALL.convert("L"), "JPEG", progressive=True),
    "cmyk jpeg": encode(SMALL.convert("CMYK"), "JPEG"),
    "restarts": encode(SMALL, "JPEG", restart_marker_rows=1),
    "png": encode(SMALL, "PNG"),
    "palette png": encode(SMALL.quantize(16), "PNG"),
    "gif": encode(SMALL, "GIF"),
    "animated gif": encode(SMALL, "GIF", save_all=True, append_images=[scene(96, 64, 1)]),
    "webp": encode(SMALL, "WEBP", exif=EXIF.tobytes()),
    "plain webp": encode(SMALL, "WEBP", lossless=True),
    "animated webp": encode(SMALL, "WEBP", save_all=True, append_images=[scene(96, 64, 1)]),
    "avif": encode(SMALL, "AVIF"),
    "tiff": encode(SMALL, "TIFF"),
    "lzw tiff": encode(SMALL, "TIFF", compression="tiff_lzw"),
    "two pages": encode(SMALL, "TIFF", save_all=True, append_images=[scene(96, 64, 1)]),
    "bmp": encode(SMALL, "BMP"),
    "jp2": encode(SMALL, "JPEG2000"),
    "codestream": encode(SMALL, "JPEG2000", no_jp2=True),
}
# What is behind the last pixel; 0 where this is the last byte, or the decoder can't be sure.
ENDS = {
    "jpeg": 2,
    "progressive": 2,
    "grey jpeg": 2,
    "cmyk jpeg": 2,
    "restarts": 2,
    "png": 12,
    "palette png": 12,
    "gif": 1,
    "animated gif": 1,
    "webp": 100,
    "animated webp": 100,
    "jp2": 2,
    "codestream": 2,
    "two pages": len(FILES["two pages"]) // 2,
}


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_not_truncated(name):
    picture = open_picture(FILES[name])
    assert picture.luma_full.shape == (64, 96)
    assert not picture.header.truncated


@pytest.mark.parametrize("name", ENDS)
def test_a_file_that_lacks_its_end_alone_is_read_and_told(name):
    whole = open_picture(FILES[name])
    for cut in {1, ENDS[name]} if name != "two pages" else {ENDS[name]}:
        picture = open_picture(FILES[name][:-cut])
        assert picture.header.truncated
        assert np.array_equal(picture.luma_full, whole.luma_full)
        assert np.array_equal(picture.rgb(), whole.rgb())


@pytest.mark.parametrize("name", FILES)
def test_wherever_a_file_is_cut_it_fails_or_shows_all_pixels_and_is_told(name):
    """Never a picture with a wrong part; never a cut that is not told."""
    data = FILES[name]
    whole = open_picture(data).luma_full
    failed = {}
    for cut in {*range(1, 40), *range(40, len(data), len(data) // 40)}:
        try:
            picture = open_picture(data[:-cut])
            found = picture.luma_full
        except PixelError as error:
            failed[cut] = error.reason
            continue
        assert np.array_equal(found, whole), cut
        # Of a TIFF's later pages, their pixels are not looked for.
        assert picture.header.truncated or name == "two pages", cut
    assert set(failed.values()) <= {Reason.TRUNCATED}
    assert len(failed) > 3


@pytest.mark.parametrize("tail", [bytes(2000), b"\0\0"])
def test_zeros_instead_of_the_end_of_a_jpeg_are_no_pixels(tail):
    for name in ("jpeg", "progressive"):
        data = FILES[name]
        assert reason_of(data[: len(data) * 2 // 3] + tail) in (
            Reason.TRUNCATED,
            Reason.DAMAGED_DATA,
        )


def test_a_progressive_jpeg_that_ends_between_two_scans_is_truncated():
    data = FILES["progressive"]
    starts = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    assert len(starts) > 4
    for start in starts[1:]:
        # Huffman tables may stand before a scan.
        tables = data.rfind(b"\xff\xc4", 0, start)
        for end in (start, tables):
            assert reason_of(data[:end]) is Reason.TRUNCATED


def test_what_follows_the_end_of_a_jpeg_is_none_of_it():
    data = FILES["jpeg"]
    for tail in (b"\0" * 9, b"junk", FILES["progressive"][:-2], b"\xff\xd8"):
        assert not open_picture(data + tail).header.truncated


def test_a_box_behind_the_picture_may_be_cut():
    for name in ("avif", "jp2"):
        data = FILES[name] + struct.pack(">I4s", 100, b"free") + bytes(20)
        picture = open_picture(data)
        assert picture.header.truncated
        assert np.array_equal(picture.luma_full, open_picture(FILES[name]).luma_full)
        half = FILES[name][:-40] + struct.pack(">I4s", 100, b"free") + bytes(20)
        with pytest.raises(PixelError):
            _ = open_picture(half).luma_full


def test_a_tiff_whose_description_is_cut_off_is_told():
    data = io.BytesIO()
    SMALL.save(data, "TIFF")
    odd = bytearray(data.getvalue())
    count_at = struct.unpack_from("<I", odd, 4)[0]
    struct.pack_into("<HHII", odd, count_at + 2 + 12 * 8, 0x010E, 2, 9999, len(odd) - 5)
    try:
        picture = open_picture(bytes(odd))
    except PixelError as error:  # the tag that was written over was needed
        pytest.fail(str(error))
    assert picture.header.truncated
