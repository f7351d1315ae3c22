"""Damage is seeded, and as large as it says."""

import io

import numpy as np
import pytest
from PIL import Image

from nucleus_data.world.damage import FLIPPED, ZEROED, flipped, mutated, png_chunk, zeroed


def encoded(form):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


JPEG, PNG = encoded("JPEG"), encoded("PNG")
SEEDS = [("jpeg.0", JPEG), ("png.0", PNG), ("png.1", encoded("PNG")[:-12])]


def test_zeros_are_in_the_middle_and_no_more_than_a_quarter():
    damaged = zeroed(JPEG)
    at = (len(JPEG) - ZEROED) // 2
    assert damaged == JPEG[:at] + bytes(ZEROED) + JPEG[at + ZEROED :]
    assert zeroed(b"x" * 80) == b"x" * 30 + bytes(20) + b"x" * 30


@pytest.mark.parametrize("data", [JPEG, PNG])
def test_flips_are_few_bits_behind_the_header(data):
    damaged = flipped(data, np.random.default_rng(1))
    assert damaged == flipped(data, np.random.default_rng(1))
    changed = [a ^ b for a, b in zip(data, damaged, strict=True)]
    assert 1 <= sum(value.bit_count() for value in changed) <= FLIPPED
    start = data.index(b"\xff\xda") if data is JPEG else len(data) // 4
    assert not any(changed[:start])


def test_mutations_are_the_same_for_the_same_seed():
    found = [mutated(SEEDS, index, np.random.default_rng([0, index])) for index in range(60)]
    again = [mutated(SEEDS, index, np.random.default_rng([0, index])) for index in range(60)]
    assert found == again
    unchanged = sum(data == SEEDS[index % 3][1] for index, data in enumerate(found))
    assert unchanged <= 2


def test_a_png_chunk_is_one_that_pillow_takes():
    at = PNG.index(b"IDAT") - 4
    words = png_chunk(b"tEXt", b"Title\0a title")
    image = Image.open(io.BytesIO(PNG[:at] + words + PNG[at:]))
    assert image.text == {"Title": "a title"}
