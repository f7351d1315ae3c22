"""Scenes, their pictures, their words and their ratings."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from nucleus_data.signals.grid import hash_words
from nucleus_data.signals.hash import COARSE, FINE
from nucleus_data.world import LENGTHS, LEVELS, alt_text, captions, pleasantness, ratings, scene
from nucleus_data.world.alt_texts import ALT_KINDS, SHARES, with_a_mistake
from nucleus_data.world.painting import DISTANCES, MARKS, render
from nucleus_data.world.rating import composition, contrast, harmony, lab
from nucleus_data.world.scenes import (
    ARRANGEMENTS,
    COLORS,
    CORE_GROUNDS,
    CORE_KINDS,
    KINDS,
    STYLES,
    TEXTURES,
)

# The hash that finds duplicates calls two pictures near at this distance or less.
NEAR = 4


def phash(picture: Image.Image) -> np.ndarray:
    phash, *_ = hash_words(np.asarray(picture.convert("L")), COARSE, FINE)
    return np.unpackbits(np.array([phash], np.uint64).view(np.uint8))


@pytest.mark.parametrize("level", LEVELS)
def test_a_scene_is_a_function_of_its_arguments(level):
    backwards = [scene(3, i, level) for i in reversed(range(20))]
    assert backwards[::-1] == [scene(3, i, level) for i in range(20)]
    assert scene(3, 0, level) != scene(4, 0, level)
    assert scene(3, 0, "core") != scene(3, 0, "full")


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="core, full, got 'hard'"):
        scene(0, 0, "hard")


def test_core_is_plain_and_full_has_everything():
    core = [scene(0, i) for i in range(400)]
    assert {len(s.shapes) for s in core} == {1, 2, 3}
    assert {s.ground for s in core} == set(CORE_GROUNDS)
    assert {t.kind for s in core for t in s.shapes} == set(CORE_KINDS)
    assert {(s.style, s.word) for s in core} == {("flat", "")}
    assert {t.texture for s in core for t in s.shapes} == {"plain"}
    full = [scene(0, i, "full") for i in range(400)]
    assert {len(s.shapes) for s in full} == {1, 2, 3, 4}
    assert {s.style for s in full} == set(STYLES)
    assert {t.kind for s in full for t in s.shapes} == set(KINDS) == set(DISTANCES)
    assert {t.texture for s in full for t in s.shapes} == set(TEXTURES) == {"plain", *MARKS}
    assert any(s.word for s in full)


def test_shapes_never_overlap_and_differ_in_kind_or_color():
    assert [len(ARRANGEMENTS[count]) for count in (1, 4)] == [9, 1]
    for index in range(500):
        for a, b in combinations(scene(1, index, "full").shapes, 2):
            far = max(abs(a.x - b.x), abs(a.y - b.y))
            assert far >= a.radius + b.radius - 0.01
            assert (a.kind, a.color) != (b.kind, b.color)


@pytest.mark.parametrize("level", LEVELS)
def test_pictures_are_equal_byte_for_byte_in_any_order(level):
    forth = [np.asarray(render(scene(1, i, level), 48, 40)) for i in range(8)]
    back = [np.asarray(render(scene(1, i, level), 48, 40)) for i in reversed(range(8))]
    for a, b in zip(forth, reversed(back), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [(57, 91), (1, 1), (3, 400), (640, 30)])
def test_a_picture_has_the_size_that_was_asked_for(size):
    for index in range(12):
        picture = render(scene(0, index, "full"), *size)
        assert (picture.size, picture.mode) == (size, "RGB")


def test_a_shape_is_painted_where_the_facts_say():
    seen = 0
    for index in range(60):
        facts = scene(0, index)
        picture = np.asarray(render(facts, 200, 160), dtype=float)
        for shape in facts.shapes:
            if shape.kind == "ring":
                continue  # nothing is at its centre
            x, y = round(shape.x * 200), round(shape.y * 160)
            inside = picture[y - 2 : y + 3, x - 2 : x + 3].mean(axis=(0, 1))
            assert np.abs(inside - COLORS[shape.color]).max() < 25
            seen += 1
    assert seen > 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_fills_its_radius_and_not_more(kind):
    r = 50.0
    x = np.arange(-80, 81, dtype=np.float32)[None, :]
    y = np.arange(-80, 81, dtype=np.float32)[:, None]
    inside = np.asarray(DISTANCES[kind](x, y, r)) < 0
    assert inside.shape == (161, 161)
    reach = np.hypot(*np.broadcast_arrays(x, y))[inside].max()
    assert 0.8 * r < reach < 1.25 * r
    assert 0.25 < inside.sum() / (np.pi * r * r) < 1.01
    np.testing.assert_array_equal(inside, inside[:, ::-1])


def test_captions_grow_with_their_length_and_say_what_they_should():
    for index in range(100):
        facts = scene(2, index, "full")
        said = captions(facts)
        assert tuple(said) == LENGTHS
        words = [len(said[length].split()) for length in LENGTHS[1:]]
        assert words == sorted(words)
        for shape in facts.shapes:
            for length in LENGTHS:
                assert f"{shape.color} {shape.kind}" in said[length]
            for length in ("short", "medium", "long", "tags"):
                assert f"{shape.size} " in said[length]
            assert f"in the {shape.place}." in said["medium"]
        for length in ("short", "medium", "long", "tags"):
            assert facts.background in said[length]
        assert bool(facts.word) == ('"' in said["long"])
        assert said["short"].count(".") == 2
        assert said["very_short"].count(".") == 1


def test_every_kind_of_alt_text_is_what_it_says():
    for index in range(60):
        facts = scene(5, index)
        true = captions(facts)
        assert alt_text(facts, "missing").text == ""
        assert alt_text(facts, "good").text == true["short"]
        assert alt_text(facts, "partly_wrong").text not in ("", true["short"])
        assert alt_text(facts, "other_image").text != true["short"]
        for shape in facts.shapes:
            assert f"{shape.color} {shape.kind}" in alt_text(facts, "terse").text
        assert alt_text(facts) == alt_text(facts)
    drawn = {alt_text(scene(5, i)).kind for i in range(300)}
    assert drawn == set(ALT_KINDS) == set(SHARES)


def test_a_mistake_changes_one_fact():
    for index in range(200):
        facts = scene(6, index, "full")
        wrong = with_a_mistake(facts, np.random.default_rng(index))
        before = [facts.background, *(v for s in facts.shapes for v in (s.color, s.kind, s.size))]
        after = [wrong.background, *(v for s in wrong.shapes for v in (s.color, s.kind, s.size))]
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert captions(wrong)["short"] != captions(facts)["short"]


@pytest.mark.slow
def test_pleasantness_is_what_its_parts_say():
    values = np.array([pleasantness(scene(7, i)) for i in range(1000)])
    assert values.min() >= 1
    assert values.max() <= 10
    assert 0.7 < values.std() < 2.5
    parts = np.array(
        [[f(scene(7, i)) for f in (contrast, composition, harmony)] for i in range(1000)]
    )
    assert parts.min() >= 0
    assert parts.max() <= 1
    assert min(np.corrcoef(values, part)[0, 1] for part in parts.T) > 0.2
    assert lab((255, 255, 255)) == pytest.approx((100, 0, 0), abs=0.02)
    assert lab((255, 0, 0)) == pytest.approx((53.24, 80.09, 67.20), abs=0.05)


@pytest.mark.slow
def test_raters_scatter_about_the_rating():
    errors = [v - pleasantness(scene(8, i)) for i in range(400) for v in ratings(scene(8, i))]
    assert abs(np.mean(errors)) < 0.1
    assert 0.7 < np.std(errors) < 0.9
    assert ratings(scene(8, 1)) == ratings(scene(8, 1))


def test_the_same_scene_at_another_size_is_a_near_duplicate():
    for i in range(10):
        a, b = (phash(render(scene(0, i), *size)) for size in ((240, 180), (120, 90)))
        assert (a != b).sum() <= NEAR


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_fewer_than_one_pair_of_scenes_in_ten_million_shares_a_hash(level):
    """Fewer than 5 of the 50 million pairs of 10,000 scenes."""
    count = 10_000
    bits = np.array([phash(render(scene(11, i, level), 128, 96)) for i in range(count)])
    signs = np.where(bits, 1, -1).astype(np.float32)
    near = 0
    for start in range(0, count, 1000):
        agree = signs[start : start + 1000] @ signs.T  # 64 - 2 * distance
        near += int((agree >= 64 - 2 * NEAR).sum())
    pairs = (near - count) // 2  # each with itself, and both ways round
    print(f"{level}: {pairs} of {count * (count - 1) // 2:,} pairs within {NEAR}")
    assert pairs < 5
