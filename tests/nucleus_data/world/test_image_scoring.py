import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter

from nucleus_data.world.image_scoring import ImageScore, score_image
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
