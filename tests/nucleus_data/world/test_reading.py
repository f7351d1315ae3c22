import pytest

from nucleus_data.world.alt_texts import GENERIC
from nucleus_data.world.reading import ReadObject, ReadScene, read_caption
from nucleus_data.world.words import ABOVE, LEFT_OF


def test_a_long_caption_read_by_hand():
    text = (
        "This night picture shows three shapes. A large white square is in the top right. "
        "A large dotted green triangle is in the middle left. A small orange circle is in the "
        "center. The green triangle is to the left of the white square. The white square is above "
        "the orange circle. The background is brown and gets lighter towards the top. "
        'The word "EXIT" is at the bottom.'
    )
    assert read_caption(text) == ReadScene(
        objects=(
            ReadObject("square", "white", "large", None, "top right"),
            ReadObject("triangle", "green", "large", "dotted", "middle left"),
            ReadObject("circle", "orange", "small", None, "center"),
        ),
        count="3",
        background="brown",
        ground="graded",
        light="top",
        style="night",
        word="EXIT",
        word_place="bottom",
        relations=(
            (ReadObject("triangle", "green"), LEFT_OF, ReadObject("square", "white")),
            (ReadObject("square", "white"), ABOVE, ReadObject("circle", "orange")),
        ),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("blue hexagon", [("hexagon", "blue")]),
        ("A huge blue thing", [(None, "blue")]),
        ("a small red ring and a large bl", [("ring", "red")]),
        ("a small red ring and a large blue", [("ring", "red"), (None, "blue")]),
        ("A large dog in the park", []),
        ("circle_red_57.jpg", [("circle", "red")]),
        ("two green crosses", [("cross", "green")] * 2),
        ("a red circle and a red circle", [("circle", "red")] * 2),
        ("A red circle. The red circle is in the top left.", [("circle", "red")]),
        (
            "red ring. red ring left of blue star. blue star",
            [("ring", "red")] + [("star", "blue")] * 2,
        ),
        ("RED RING on a GREY background", [("ring", "red")]),
        ("a crimson ring", [("ring", None)]),
        ("a red or blue ring", [(None, "red"), ("ring", "blue")]),
    ],
)
def test_objects_of_odd_captions(text, told):
    assert [(one.kind, one.color) for one in read_caption(text).objects] == told


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("a GREY background", "background", "gray"),
        ("on a background of teal", "background", "teal"),
        ("background: light pink", "background", "pink"),
        ("The background is gray. The background is teal.", "background", "gray or teal"),
        ("The background is blue.", "background", "blue"),
        ("it gets lighter to the left", "light", "left"),
        ("it gets lighter", "ground", "graded"),
        ("Two shapes. 3 shapes", "count", "2 or 3"),
        ('the word "open" is at the top', "word", "OPEN"),
        ('the word "open" is at the top', "word_place", "top"),
        ('the word "OPE', "word", None),
        ("It is a pencil drawing", "style", "pencil"),
        ("This picture shows", "style", "flat"),
    ],
)
def test_facts_of_odd_captions(text, name, value):
    assert getattr(read_caption(text), name) == value


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("In the upper left is a red ring", ["top left"]),
        ("top left red ring, bottom-right blue star", ["top left", "bottom right"]),
        ("a red ring in the centre and a blue star", ["center", None]),
        ("a red ring in the bottom center", ["bottom center"]),
    ],
)
def test_places_before_and_after(text, places):
    assert [one.place for one in read_caption(text).objects] == places


def test_relations_may_be_turned_round():
    text = "A red ring. A blue star. The blue star is to the right of the red ring and below it."
    ring, star = ReadObject("ring", "red"), ReadObject("star", "blue")
    read = read_caption(text)
    assert read.relations == ((ring, LEFT_OF, star),)
    assert read.objects == (ring, star)


@pytest.mark.parametrize("text", ["", *GENERIC, "...", '""', "@@ | @top", "IMG_0001.jpg"])
def test_text_that_tells_nothing(text):
    assert read_caption(text) == ReadScene()
