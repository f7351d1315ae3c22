import pytest

from nucleus_data.stages.caption.checks.boilerplate import Boilerplate
from nucleus_data.stages.caption.checks.check import Said


@pytest.mark.parametrize(
    "text",
    [
        "The image shows a red ring.",
        "This picture depicts two cats.",
        "The black and white photograph captures a street.",
        "In this image, a man rides a horse.",
        "An image of a lion",
        "We can see a ring.",
        "This appears to be a drawing of a ring.",
        "It looks like an old illustration with a ring.",
        "The photo given here shows a ring.",
        "The composition centers on a ring.",
        "A street. Overall, the scene conveys a sense of calm.",
        "A street, creating a warm atmosphere of peace.",
        "Das Bild zeigt einen Hund.",
        "L\u2019image montre un chien.",
        "En la imagen hay un perro.",
        "На изображении собака.",
        "这张图片展示了一只猫。",
        "この画像は猫です。",
    ],
)
def test_words_about_the_picture(text):
    assert Boilerplate().find(Said(text))


@pytest.mark.parametrize(
    "text",
    [
        "A photo of a red ring on a table",
        "A painting by Turner",
        "It looks like rain over a harbor.",
        "a red circle",
        "A woman shows an image to a child.",
        "The scenery is green.",
        "A poster that says 'The image shows'",
        "Photographs on a wall",
        "Overalls on a line",
        "Das Bildnis des Dorian Gray",
    ],
)
def test_pictures_in_pictures(text):
    assert Boilerplate().find(Said(text)) is None


def test_it_marks_unless_told_otherwise():
    assert Boilerplate().action == "flag"


@pytest.mark.parametrize(
    "text",
    [
        "This render shows a red ring.",
        "Within the picture, one can see a red ring.",
        "We notice a red ring.",
        "What we see here is a red ring.",
        "At the heart of this picture is a red ring.",
        "A simple image of a red ring.",
        "A red ring. The overall mood is calm.",
        "A red ring. To summarize, it is simple.",
    ],
)
def test_boilerplate_by_its_kind(text):
    assert Boilerplate().find(Said(text))


@pytest.mark.parametrize(
    "text",
    ["A picture hangs on the wall.", "A painting of a ring.", "The drawings on a desk are blue."],
)
def test_pictures_in_a_picture_are_none(text):
    assert not Boilerplate().find(Said(text))
