"""Pairs whose better copy is known: one of each kind, which size and bytes alone get wrong."""

import io

import pytest
from PIL import Image, ImageOps

from nucleus_data.stages.compare.aligned import align
from nucleus_data.stages.compare.evidence import (
    SAME,
    SIZE_MARGIN,
    Known,
    compare,
    score_of,
    size_bonus,
    with_known,
)
from nucleus_data.stages.compare.terms import swapped, terms_of
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import scene
from scripts.copies.comparing import known_of
from scripts.copies.damage import (
    blurred,
    cast,
    coded,
    colour,
    contrast,
    framed,
    gamma,
    grey,
    noisy,
    palette,
    scaled,
    screenshot,
    sharper,
    stamped,
    text,
    thumbnail,
)
from scripts.copies.measuring import SIGNALS
from scripts.rules.measuring import file_row
from tests.support.copied import detailed, encoded, views_of
from tests.support.quick import quick

NOTHING = Known()
ORIGINALS = (
    encoded(detailed(3), "JPEG", quality=90),
    encoded(render(scene(91, 7, "full"), 480, 360), "JPEG", quality=90),
)
BICUBIC = Image.Resampling.BICUBIC
# Kind -> what is done, and the name of the fault that is told, if it has one.
KINDS = {
    "grey": (grey, "grey"),
    "pale": (colour(0.2), "pale"),
    "enlarged": (lambda p: scaled(p, 1.5, BICUBIC), "enlarged"),
    "over-sharpened": (sharper(2, 250), "sharpened"),
    "saved low": (coded("JPEG", quality=20), None),
    "blurred": (blurred(1.5), "blurred"),
    "noisy": (noisy(10, grey=False), "noisy"),
    "few colours": (palette(16, dither=False), "few colours"),
    "posterised": (lambda p: ImageOps.posterize(p, 3), "few colours"),
    "words": (text(0.1, 2), "marked"),
    "stamped": (stamped(0.5), "marked"),
    "framed": (framed(0.04, "white"), "framed"),
    "cropped": (screenshot(0.02, 1.2), "cropped"),
    "clipped": (contrast(2.0), "clipped"),
    "faded": (contrast(0.5), "faded"),
    "bright": (gamma(0.45), None),
    "cast": (cast(1.2, 1, 0.6), "tinted"),
    "thumbnail": (thumbnail(0.5, BICUBIC), "blurred"),
    "stretched": (lambda p: scaled(p, 1, x=1.02), "stretched"),
}


# The others take half a second each, and are asked in the slow tests.
QUICK = {"enlarged"}


# Of noise, brighter noise is as good a picture: it is asked of a scene alone.
OF_A_SCENE = {"bright"}


def copies(change, originals=ORIGINALS):
    for data in originals:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        yield data, encoded(change(picture))


def found(data, copy):
    known = known_of([file_row(SIGNALS, "", "", each, "") for each in (data, copy)])
    return compare(*views_of(data, copy), *known)


@pytest.mark.slow
@pytest.mark.parametrize("kind", quick(KINDS, QUICK))
def test_the_original_wins_and_the_fault_is_named(kind):
    change, fault = KINDS[kind]
    for data, copy in copies(change, ORIGINALS[1 if kind in OF_A_SCENE else 0 :]):
        evidence = found(data, copy)
        assert evidence.score > 0
        assert fault is None or fault in evidence.faults


@pytest.mark.parametrize("factor", quick([0.95, 0.9, 0.75, 0.5, 0.35], 0))
def test_of_sizes_alone_the_larger_wins(factor):
    for data, copy in copies(lambda picture: scaled(picture, factor)):
        assert found(data, copy).score > 0


@pytest.mark.parametrize("number", quick([0, 2, 3], 0))
def test_the_noise_of_a_jpeg_in_inks_is_no_colour(number):
    picture = render(scene(11, number, "full"), 512, 384).convert("RGB")
    file = io.BytesIO()
    picture.convert("CMYK").save(file, "JPEG", quality=92)
    assert found(encoded(picture), file.getvalue()).score > 0
    # But a file in inks may be the original of one that is not.
    again = io.BytesIO()
    Image.open(file).convert("RGB").save(again, "JPEG", quality=75)
    assert found(file.getvalue(), again.getvalue()).score > 0


def test_the_other_order_says_the_same():
    data, copy = next(copies(sharper(1, 200)))
    views = views_of(data, copy)
    terms = with_known(terms_of(align(*views), *views), NOTHING, NOTHING)
    assert score_of(swapped(terms)) == -score_of(terms)


@pytest.mark.slow
def test_other_pictures_and_tiny_ones_are_not_compared():
    one, other = encoded(detailed(3)), encoded(detailed(4))
    assert found(one, other).score == 0
    tiny = encoded(detailed(3).resize((16, 12)))
    assert found(one, tiny).score == 0


def test_signals_that_are_missing_say_nothing():
    terms = with_known({}, Known(quality=2.0), Known(quality=0.5, blocks=1.0))
    assert terms["known_quality"] == 1.5
    assert terms["known_blocks"] == terms["known_worse"] == 0.0


def test_the_larger_of_two_that_differ_by_size_alone_need_not_prove_as_much():
    same = {"size": 0.5, "both_moved": 0.0, **dict.fromkeys(SAME, 0.0)}
    assert size_bonus(same) == SIZE_MARGIN
    assert size_bonus(swapped(same)) == -SIZE_MARGIN
    assert size_bonus({**same, "size": 0.01}) == 0
    for other in ({"both_moved": 1.0}, {"saturation": 1.0}, {"both_stretch": 0.4}):
        assert size_bonus({**same, **other}) == 0
