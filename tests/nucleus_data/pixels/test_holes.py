"""Zeros in a JPEG's coded data: where they are damage, and where they are pixels or padding."""

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nucleus_data.pixels import PixelError, Reason, open_picture
from nucleus_data.pixels.holes import HOLE, check_holes
from nucleus_data.pixels.jpeg import read_jpeg_header


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def scene(seed=0, mode="RGB"):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    wide = np.asarray(coarse.resize((400, 300), Image.Resampling.BICUBIC)) + rng.normal(
        0, 9, (300, 400, 3)
    )
    return Image.fromarray(np.clip(wide, 0, 255).astype(np.uint8)).convert(mode)


def damage(data, header=None):
    """What the check says of a file, without decoding it."""
    header = header or read_jpeg_header(data)
    try:
        check_holes(data, header.core, header.scan)
    except PixelError as error:
        return str(error)
    return None


def with_hole(data, share, count):
    """Zeros at a share of the coded data of a file with one scan."""
    start = read_jpeg_header(data).scan + 16
    at = start + int(share * (len(data) - 2 - count - start))
    return data[:at] + bytes(count) + data[at + count :], at


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 3), st.floats(0.05, 0.95), st.integers(HOLE, 400))
def test_every_hole_under_the_usual_tables_is_found_where_it_is(seed, share, count):
    clean = encode(scene(seed, "L" if seed == 3 else "RGB"), quality=85)
    assert damage(clean) is None
    holed, at = with_hole(clean, share, count)
    said = re.fullmatch(r"damaged_data: (\d+) zero bytes at (\d+)", damage(holed))
    found, place = int(said[1]), int(said[2])
    # A byte of zero may have stood on either side, or a 0xff, whose stuffed zero is not damage.
    assert at - 2 <= place <= at
    assert count <= found <= count + 4
    with pytest.raises(PixelError) as caught:
        _ = open_picture(holed).luma_full
    assert caught.value.reason is Reason.DAMAGED_DATA


def test_fewer_zeros_are_left_to_the_decoder():
    assert damage(with_hole(encode(scene()), 0.5, HOLE - 4)[0]) is None


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{"optimize": True}, {"progressive": True}], ids=str)
def test_one_colour_is_coded_as_zeros_and_whole(mode, options):
    data = encode(Image.new(mode, (1000, 800), 90 if mode == "L" else (90, 20, 200)), **options)
    assert bytes(1000) in data[read_jpeg_header(data).scan :]
    assert open_picture(data).luma_full.shape == (800, 1000)


@pytest.mark.parametrize("padding", [5, 16, 40, 3000])
def test_zeros_beside_the_coded_data_are_no_damage(padding):
    profile = encode(scene(), icc_profile=bytes(500))
    padded = profile[:-2] + bytes(padding) + profile[-2:] + bytes(3000)
    assert damage(padded) is None
    assert np.array_equal(open_picture(padded).luma_full, open_picture(profile).luma_full)


def test_a_hole_in_a_later_scan_is_found_by_the_tables_before_that_scan():
    data = encode(scene(1), progressive=True, quality=98)
    scans = [found.end() for found in re.finditer(rb"\xff\xda", data)]
    found = {True: [], False: []}
    for start, end in zip(scans, [*scans[1:], len(data)], strict=True):
        if end - start > 300:
            at = start + 100
            again = data[start + 3 + 2 * data[start + 2] + 2] > 15
            found[again].append(damage(data[:at] + bytes(80) + data[at + 80 :]))
    assert any(found[False])
    assert found[True]  # scans that refine the earlier ones' coefficients, by bits that may be 0
    assert not any(found[True])


@pytest.mark.slow
@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([{}, {"progressive": True}, {"optimize": True}]))
def test_whatever_the_bytes_are_it_ends(seed, options):
    rng = np.random.default_rng(seed)
    data = bytearray(encode(scene().resize((64, 48)), **options))
    header = read_jpeg_header(bytes(data))
    for at in rng.integers(header.scan, len(data), 5).tolist():
        count = int(rng.integers(1, 60))
        data[at : at + count] = bytes(rng.choice([0, 0xFF, 0xC4, 0xDA], count).astype(np.uint8))
    assert (damage(bytes(data), header) or "damaged_data").startswith("damaged_data")
