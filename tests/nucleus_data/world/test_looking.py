import io
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFilter

from nucleus_data.world.looking import ImageScore, components, find_objects, score_image
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import BACKGROUNDS, COLORS, CORE_KINDS, Shape, scene

pytestmark = pytest.mark.slow

SEED = 31


def jpeg(picture):
    coded = io.BytesIO()
    picture.save(coded, "JPEG", quality=85)
    return Image.open(io.BytesIO(coded.getvalue())).convert("RGB")


def blurred(picture):
    return picture.filter(ImageFilter.GaussianBlur(1))


def noisy(picture):
    pixels = np.asarray(picture, dtype=float)
    pixels = pixels + np.random.default_rng(0).normal(0, 12, pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def same(picture):
    return picture


def pooled(scenes, size, spoil=same):
    scores = (score_image(spoil(render(s, *size)), s) for s in scenes)
    return sum(scores, ImageScore())


def shares(score):
    return score.right_share, score.placed_share, score.images_right_share


SCENES = [scene(SEED, i) for i in range(200)]
TWO = [s for s in SCENES if len(s.shapes) == 2][:20]


def perfect(scenes):
    shapes = sum(len(s.shapes) for s in scenes)
    images = len(scenes)
    return ImageScore(images, shapes, shapes, shapes, shapes, images, images)


@pytest.mark.parametrize("size", [(64, 64), (100, 64)])
def test_the_truth_is_wholly_right(size):
    assert pooled(SCENES[:40], size) == perfect(SCENES[:40])


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64), (128, 128), (256, 256), (100, 64), (90, 160)])
def test_the_truth_is_wholly_right_on_all_scenes(size):
    assert pooled(SCENES, size) == perfect(SCENES)


@pytest.mark.slow
def test_the_truth_is_right_on_many_scenes():
    scenes = [scene(SEED + 1, i) for i in range(2_000)]
    assert pooled(scenes, (64, 64)).images_right_share > 0.999


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "size", "least"),
    [
        (jpeg, 64, 0.97),
        (jpeg, 128, 0.99),
        (blurred, 64, 0.98),
        (noisy, 64, 0.98),
        (lambda p: noisy(blurred(p)), 64, 0.97),
    ],
)
def test_spoilt_pictures_are_still_read(spoil, size, least):
    score = pooled(SCENES[:60], (size, size), spoil)
    assert score.images_right_share >= least
    assert score.images_placed_share >= least


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


def only(kind, color, background, radius, at=(1, 1)):
    row, column = at
    x, y = (0.25, 0.5, 0.75)[column], (0.25, 0.5, 0.75)[row]
    shape = Shape(kind, color, "small", "plain", row, column, x, y, radius)
    return replace(SCENES[0], background=background, ground="plain", light="none", shapes=(shape,))


@pytest.mark.slow
def test_every_kind_and_every_colour_on_every_ground():
    wrong = []
    for i, background in enumerate(BACKGROUNDS):
        for j, color in enumerate(COLORS):
            for kind in CORE_KINDS[(i + j) % 2 :: 2]:
                facts = only(kind, color, background, (0.09, 0.11, 0.2)[j % 3])
                if not score_image(render(facts, 64, 64), facts).images_placed:
                    wrong.append((kind, color, background))
    assert wrong == []


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


def test_another_scenes_picture_scores_low():
    scores = (score_image(render(b, 64, 64), a) for a, b in pairwise(SCENES[:60]))
    score = sum(scores, ImageScore())
    assert score.right_share < 0.1
    assert score.images_right_share < 0.02


def other_color(facts):
    return next(c for c in COLORS if c not in {s.color for s in facts.shapes})


def test_a_recoloured_object_is_missing_and_invented():
    for facts in TWO:
        shapes = (facts.shapes[0], replace(facts.shapes[1], color=other_color(facts)))
        score = score_image(render(replace(facts, shapes=shapes), 64, 64), facts)
        assert score == ImageScore(1, 2, 2, 1, 1, 0, 0)
        assert (score.missing, score.invented) == (1, 1)


def test_an_object_of_another_kind_is_missing_and_invented():
    for facts in TWO:
        kind = next(k for k in CORE_KINDS if k not in {s.kind for s in facts.shapes})
        shapes = (facts.shapes[0], replace(facts.shapes[1], kind=kind))
        score = score_image(render(replace(facts, shapes=shapes), 64, 64), facts)
        assert score == ImageScore(1, 2, 2, 1, 1, 0, 0)


def test_a_removed_object_is_missing():
    for facts in TWO:
        picture = render(replace(facts, shapes=facts.shapes[:1]), 64, 64)
        assert score_image(picture, facts) == ImageScore(1, 2, 1, 1, 1, 0, 0)


def test_an_added_object_is_invented():
    for facts in TWO:
        fewer = replace(facts, shapes=facts.shapes[:1])
        assert score_image(render(facts, 64, 64), fewer) == ImageScore(1, 1, 2, 1, 1, 0, 0)


def test_an_object_elsewhere_is_right_but_not_placed():
    for kind in CORE_KINDS:
        facts, moved = (only(kind, "blue", "beige", 0.12, at) for at in ((0, 2), (2, 0)))
        assert score_image(render(moved, 64, 64), facts) == ImageScore(1, 1, 1, 1, 0, 1, 0)


@pytest.mark.parametrize("kind", CORE_KINDS)
def test_a_broken_object_is_not_right(kind):
    facts = only(kind, "blue", "beige", 0.19)
    half = np.array(render(facts, 64, 64))
    empty = np.asarray(render(replace(facts, shapes=()), 64, 64))
    half[:, 32:] = empty[:, 32:]
    assert score_image(half, facts).right == 0
    two_tone = np.array(render(facts, 64, 64))
    red = render(replace(facts, shapes=(replace(facts.shapes[0], color="red"),)), 64, 64)
    two_tone[:, 32:] = np.asarray(red)[:, 32:]
    assert score_image(two_tone, facts).right == 0


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


def test_components_by_hand():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 1, 1], [1, 0, 0, 0]], dtype=bool)
    assert components(mask).tolist() == [[1, 1, 0, 2], [0, 0, 0, 2], [3, 0, 2, 2], [3, 0, 0, 0]]


@settings(max_examples=60)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_components_are_those_of_a_flood_fill(mask):
    labels = components(mask)
    assert ((labels > 0) == mask).all()
    seen = np.zeros_like(labels)
    count = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if seen[start]:
            continue
        count += 1
        waiting = [start]
        while waiting:
            y, x = waiting.pop()
            inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
            if inside and mask[y, x] and not seen[y, x]:
                seen[y, x] = count
                waiting += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    pairs = Counter(zip(labels[mask].tolist(), seen[mask].tolist(), strict=True))
    assert len(pairs) == count == labels.max()
