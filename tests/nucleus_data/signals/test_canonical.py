"""Hashes that stay when a picture is mirrored, turned or framed."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageOps

from nucleus_data.signals import canonical, hash, load_group
from nucleus_data.signals.grid import lowest_frequencies, packed_bits
from nucleus_data.signals.hash import COARSE, FINE, hashes
from tests.support.measured import picture_of, scene
from tests.support.quick import quick

TURNS = [None, *Image.Transpose]
SIZE = (400, 300)


def measured(image, file_format="PNG", **options):
    values = canonical.group.measure(picture_of(image, file_format, **options), None)
    return [values[f"canonical_{name}"] for name in ("phash", "hash256", "width", "height")]


def apart(one, other):
    bits = [int.from_bytes(values[1], "big") for values in (one, other)]
    return (one[0] ^ other[0]).bit_count(), (bits[0] ^ bits[1]).bit_count()


def near(one, other, phash=4, hash256=40):
    distances = apart(one, other)
    return distances[0] <= phash and distances[1] <= hash256


def test_it_is_found_by_its_name_and_values_fit_the_schema():
    group = load_group("canonical")
    values = group.measure(picture_of(scene(*SIZE), "JPEG"), None)
    assert list(values) == group.schema.names
    assert pa.Table.from_pylist([values], schema=group.schema).num_rows == 1


@pytest.mark.parametrize("size", [(256, 171), (171, 256), (64, 64), (63, 65), (97, 97), (31, 7)])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_averages_have_equal_hashes_in_all_eight_orientations(size, seed):
    luma = np.asarray(scene(*size, seed).convert("L"))
    found = set()
    for turns in range(4):
        for one in (np.rot90(luma, turns), np.rot90(luma, turns)[:, ::-1]):
            coarse, fine = lowest_frequencies(np.ascontiguousarray(one), COARSE, FINE)
            turn = canonical.canonical_turn(fine, one.shape[1], one.shape[0])
            words = (packed_bits(canonical.turned(block, turn)) for block in (coarse, fine))
            values = hashes(*(word for part in words for word in part))
            found.add((values["phash"], values["hash256"]))
    assert len(found) == 1


@pytest.mark.parametrize("size", quick([(400, 300), (299, 401), (300, 300), (313, 311)], 1))
def test_it_is_the_hash_of_one_of_the_orientations(size):
    image = scene(*size, seed=3)
    phash, hash256, width, height = measured(image)
    turned = [image.transpose(t) if t is not None else image for t in TURNS]
    plain = [hash.group.measure(picture_of(one), None) for one in turned]
    found = [near([p["phash"], p["hash256"]], [phash, hash256], 2, 8) for p in plain]
    assert found.count(True) == 1
    assert (width, height) == (max(size), min(size))
    # Neither hash alone would do: the other seven are far away.
    assert sum((p["phash"] ^ phash).bit_count() > 10 for p in plain) == 7


@pytest.mark.parametrize("size", quick([(400, 300), (300, 301), (640, 331)], 1))
def test_a_turned_and_recompressed_copy_is_near(size):
    image = scene(*size, seed=4)
    original = measured(image)
    small = image.resize((size[0] * 2 // 3, size[1] * 2 // 3), Image.Resampling.LANCZOS)
    for turn in Image.Transpose:
        assert near(measured(image.transpose(turn)), original, 2, 8), turn
        assert near(measured(small.transpose(turn), "JPEG", quality=60), original), turn
    plain = hash.group.measure(picture_of(ImageOps.mirror(image)), None)["phash"]
    assert (plain ^ hash.group.measure(picture_of(image), None)["phash"]).bit_count() > 10


def test_other_pictures_are_far():
    phash, hash256 = apart(measured(scene(*SIZE, seed=1)), measured(scene(*SIZE, seed=2)))
    assert phash > 10
    assert hash256 > 60


@pytest.mark.parametrize("colour", ["white", "black", (40, 90, 140)])
def test_a_frame_does_not_count(colour):
    image = scene(*SIZE, seed=5)
    framed = measured(ImageOps.expand(image, (20, 16, 33, 41), colour), "JPEG", quality=85)
    assert near(framed, measured(image))
    assert framed[2:] == [pytest.approx(400, abs=3), pytest.approx(300, abs=3)]
    plain = [picture_of(one) for one in (image, ImageOps.expand(image, (20, 16, 33, 41), colour))]
    one, other = (hash.group.measure(picture, None)["phash"] for picture in plain)
    assert (one ^ other).bit_count() > 4


def test_a_caption_strip_does_not_count_on_a_mirrored_copy():
    image = scene(*SIZE, seed=6)
    strip = Image.new("RGB", (400, 350), (245, 245, 245))
    strip.paste(ImageOps.mirror(image), (0, 0))
    ImageDraw.Draw(strip).text((60, 315), "some words below a picture", fill=(10, 10, 10))
    found = measured(strip)
    assert near(found, measured(image))
    assert found[2:] == [400, 300]


def test_what_is_border_almost_everywhere_is_hashed_whole():
    for height, kept in ((180, 180), (140, 400)):
        bands = Image.new("RGB", (400, 400), "black")
        bands.paste(scene(400, height, seed=7), (0, (400 - height) // 2))
        assert measured(bands)[2:] == [400, kept]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (80, 80)])
def test_flat_and_tiny_pictures_have_one_hash(size):
    image = Image.new("RGB", size, (90, 120, 60))
    assert measured(image) == measured(image.transpose(Image.Transpose.ROTATE_90))
