from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from nucleus_data.world.object_detection import find_objects
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import BACKGROUNDS, COLORS, scene

pytestmark = pytest.mark.slow

SCENES = [scene(31, i) for i in range(60)]


def test_sizes_places_and_radii_are_measured():
    for facts in SCENES[:40]:
        found = {(f.kind, f.color): f for f in find_objects(render(facts, 96, 64))}
        for shape in facts.shapes:
            one = found[shape.kind, shape.color]
            assert (one.size, one.place) == (shape.size, shape.place)
            assert abs(one.x - shape.x) < 0.015
            assert abs(one.y - shape.y) < 0.015
            assert one.radius == pytest.approx(shape.radius, rel=0.08)
            assert 0.8 < one.overlap <= 1


def test_objects_come_in_reading_order():
    for facts in SCENES[:20]:
        found = find_objects(render(facts, 64, 64))
        assert [(f.kind, f.color) for f in found] == [(s.kind, s.color) for s in facts.shapes]


def test_arrays_and_pictures_are_the_same():
    picture = render(SCENES[0], 64, 64)
    assert find_objects(np.asarray(picture)) == find_objects(picture)
    assert find_objects(picture.convert("RGBA")) == find_objects(picture)
    for wrong in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)):
        with pytest.raises(ValueError, match="uint8"):
            find_objects(wrong)


@pytest.mark.parametrize("size", [64, 128])
def test_noise_has_no_objects(size):
    rng = np.random.default_rng(0)
    for _ in range(10):
        shape = (size, size, 3)
        gray = rng.integers(0, 256, (size, size, 1), dtype=np.uint8)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        for pixels in (
            rng.integers(0, 256, shape, dtype=np.uint8),
            np.clip(rng.normal(128, 40, shape), 0, 255).astype(np.uint8),
            np.repeat(gray, 3, axis=2),
            np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)),
        ):
            assert find_objects(pixels) == []


def test_plain_grounds_have_no_objects():
    for facts in SCENES[:60]:
        assert find_objects(render(replace(facts, shapes=()), 64, 64)) == []
    for color in (*COLORS.values(), *BACKGROUNDS.values()):
        assert find_objects(np.full((64, 64, 3), color, np.uint8)) == []


@pytest.mark.parametrize("side", [1, 2, 5, 16])
def test_tiny_pictures_are_no_trouble(side):
    assert find_objects(np.zeros((side, side + 2, 3), np.uint8)) == []
