import numpy as np
import pytest
from PIL import Image, ImageOps

from nucleus_data.stages.compare.register import Place, register
from scripts.copies.damage import gamma, grey, noisy
from tests.support.copied import detailed

WHOLE = detailed(3, 320, 240)
PIXEL = 1 / 320


def placed(copy: Image.Image) -> Place:
    return register(np.asarray(WHOLE), np.asarray(copy.convert("RGB")))


@pytest.mark.parametrize(
    "copy",
    [
        WHOLE,
        WHOLE.resize((200, 150)),
        noisy(25, grey=False)(WHOLE),
        gamma(0.4)(WHOLE),
        grey(WHOLE),
        WHOLE.resize((314, 240)),
    ],
    ids=["itself", "smaller", "noisy", "bright", "grey", "stretched"],
)
def test_copies_of_all_of_it_lie_on_each_other(copy):
    assert placed(copy).plain


@pytest.mark.parametrize("cut", [4, 8, 16])
def test_a_crop_is_found_where_it_was_cut(cut):
    place = placed(WHOLE.crop((cut, cut // 2, 320 - cut, 240)).resize((320, 240)))
    assert not place.plain
    width, height = 320 - 2 * cut, 240 - cut // 2
    assert place.scale == pytest.approx((320 / width, 240 / height), abs=0.5 * PIXEL)
    assert place.shift == pytest.approx((-cut / width, -cut / 2 / height), abs=0.7 * PIXEL)


def test_what_is_inside_a_frame_is_found():
    place = placed(ImageOps.expand(WHOLE, 12, "white"))
    assert place.scale == pytest.approx((320 / 344, 240 / 264), abs=2 * PIXEL)
    back = place.inverse()
    assert back.scale[0] * place.scale[0] == pytest.approx(1)


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_copy_is_turned_back(turn):
    pixels = np.asarray(WHOLE)
    found = register(np.rot90(pixels[:, ::-1] if turn >= 4 else pixels, turn % 4), pixels)
    assert (found.turn, found.plain) == (turn, True)


def test_pictures_of_nothing_are_laid_on_each_other():
    plain = np.full((24, 40, 3), 128, np.uint8)
    assert register(plain, plain).plain
