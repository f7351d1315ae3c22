import math

import numpy as np
import pytest
from PIL import Image

from nucleus_data.signals import hash, tone
from tests.support.measured import picture_of, scene, solid
from tests.support.quick import quick


def hamming(one, other):
    if isinstance(one, bytes):
        return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()
    return (one ^ other).bit_count()


def plain_dct_hash(luma, side, kept):
    """The definition, in floats and without tricks."""
    height, width = luma.shape
    rows = luma.repeat(side, axis=0).reshape(side, height, width).mean(axis=1)
    pixels = rows.repeat(side, axis=1).reshape(side, side, width).mean(axis=2)
    n = np.arange(side)
    matrix = np.array(
        [
            np.cos(np.pi * k * (2 * n + 1) / (2 * side)) * math.sqrt((1 if k == 0 else 2) / side)
            for k in range(kept)
        ]
    )
    block = (matrix @ pixels @ matrix.T).reshape(-1)
    bits = block > np.median(block[1:])
    return np.packbits(bits).tobytes()


@pytest.mark.parametrize("size", [(256, 256), (256, 171), (640, 480), (97, 203)])
def test_hashes_follow_their_definition(size):
    picture = picture_of(scene(*size))
    values = hash.group.measure(picture, None)
    plain = plain_dct_hash(picture.luma_small, 32, 8)
    # Rounding may flip the coefficient that is the median itself, hardly another.
    assert hamming(values["phash"].to_bytes(8, "big"), plain) <= 1
    assert hamming(values["hash256"], plain_dct_hash(picture.luma_small, 64, 16)) <= 2


def test_hash_bits_of_a_known_picture():
    """One cosine of frequency 3 along x: of all coefficients but DC only number 3 is above 0."""
    x = np.arange(256)
    wave = (128 + 100 * np.cos(np.pi * 3 * (2 * x + 1) / 512)).astype(np.uint8)
    picture = picture_of(Image.fromarray(np.broadcast_to(wave, (256, 256)).copy()))
    phash = hash.group.measure(picture, None)["phash"]
    assert phash >> 63 & 1  # DC
    assert phash >> (63 - 3) & 1  # row 0, column 3
    assert phash & ((1 << 56) - 1) == 0  # no other row


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (12, 99, 180)])
def test_solid_pictures_hash_alike(colour):
    values = hash.group.measure(picture_of(solid(colour)), None)
    dc = int(colour != (0, 0, 0))
    assert values["phash"] == dc << 63
    assert values["hash256"] == bytes([dc << 7]) + bytes(31)


@pytest.mark.slow
@pytest.mark.parametrize("seed", quick(range(4), 1))
def test_copies_are_near_and_others_far(seed):
    original = scene(640, 480, seed)
    first = hash.group.measure(picture_of(original, "JPEG", quality=92), None)
    copies = {
        "recoded": picture_of(original, "JPEG", quality=40),
        "png": picture_of(original),
        "webp": picture_of(original, "WEBP", quality=60),
        "half": picture_of(original.resize((320, 240), Image.Resampling.LANCZOS), "JPEG"),
        "odd": picture_of(original.resize((407, 305), Image.Resampling.BICUBIC), "JPEG"),
        "double": picture_of(original.resize((1280, 960), Image.Resampling.BICUBIC), "JPEG"),
    }
    for name, copy in copies.items():
        values = hash.group.measure(copy, None)
        assert hamming(values["phash"], first["phash"]) <= 4, name
        assert hamming(values["hash256"], first["hash256"]) <= 40, name
    other = hash.group.measure(picture_of(scene(640, 480, seed + 100)), None)
    assert hamming(other["phash"], first["phash"]) > 8
    assert hamming(other["hash256"], first["hash256"]) > 60


def test_orientation_twins_have_equal_values():
    upright = scene(300, 200)
    exif = Image.Exif()
    operations = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    plain = [g.measure(picture_of(upright), None) for g in (tone.group, hash.group)]
    for orientation, operation in operations.items():
        exif[0x0112] = orientation
        twin = picture_of(upright.transpose(operation), exif=exif.tobytes())
        assert twin.header.orientation == orientation
        assert [g.measure(twin, None) for g in (tone.group, hash.group)] == plain
        lossy = picture_of(upright.transpose(operation), "JPEG", quality=92, exif=exif.tobytes())
        distance = hamming(hash.group.measure(lossy, None)["phash"], plain[1]["phash"])
        assert distance <= 4
