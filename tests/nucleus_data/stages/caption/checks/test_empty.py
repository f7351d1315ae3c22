import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.empty import Empty


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "\u200b\ufeff",
        ".",
        "...",
        "\u00a0",
        "N/A",
        "[none]",
        "null",
        "No caption.",
        "N.A.",
        "\u2026",
        "\u2014",
        "[empty]",
        "No description available.",
        "not applicable",
        "[blank]",
        "<insert caption here>",
    ],
)
def test_nothing_is_said(text):
    assert Empty().find(Said(text))


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "7",
        "红",
        "\N{RED APPLE}",
        "Null.",
        "Nothing",
        "a red circle",
        "None of the birds flies.",
        "#1",
        "½",
        "\u2665",
        "An empty bottle, no caption available",
        "blank",
        "[a caption]",
    ],
)
def test_little_is_something(text):
    assert Empty().find(Said(text)) is None


def test_it_tells_what_the_model_did():
    assert Empty().find(Said(" ", tokens=3)) == "the model ended after 3 tokens with ' '"


@pytest.mark.parametrize(
    "text",
    [
        "We see . The background is gray.",
        "This minimalist illustration shows , on a gray ground.",
        "In this picture there is .",
        "Final answer: . The background is teal.",
        "A cat, a dog and . All of them sleep.",
        ". The background is teal.",
    ],
)
def test_what_is_announced_and_missing_is_a_hole(text):
    assert "nothing follows" in (Empty().find(Said(text)) or "")


@pytest.mark.parametrize(
    "text",
    [
        "a man riding a wave on top of a surfboard .",  # some captioners put a space before marks
        "a dog , a cat and a bird .",
        "A dog. . . and then a cat.",
        'A sign that says "What you see is ." on a wall.',
        "A bottle of .NET stickers.",
        "The room is .5 m wide, and what it shows is plain.",
    ],
)
def test_a_space_before_a_mark_is_no_hole(text):
    assert Empty().find(Said(text)) is None


def test_a_hole_in_a_schemas_value_is_found_too():
    said = Said('{"caption": "The image shows ."}', schema='{"type": "object"}')
    assert "The image shows ." in (Empty().find(said) or "")
