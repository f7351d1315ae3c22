"""Captions that are read off the pixels."""

import pytest
from PIL import Image

from scripts.cases.colours import colours_of


@pytest.mark.parametrize(
    ("more", "less", "told"),
    [
        ((214, 40, 36, 255), (40, 160, 60, 255), "A red and green picture."),
        ((36, 72, 214, 255), (0, 0, 0, 0), "A blue and white picture."),
        ((0, 0, 0, 0), (246, 220, 40, 255), "A yellow and white picture."),
    ],
)
def test_the_commonest_colours_are_told_and_what_is_clear_is_white(more, less, told):
    picture = Image.new("RGBA", (64, 64), more)
    picture.paste(less, (0, 0, 64, 16))
    assert colours_of(picture) == told
