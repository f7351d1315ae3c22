import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.empty import Empty


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", "\u200b\ufeff", ".", "...", "\u00a0", "N/A", "[none]", "null", "No caption."],
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
    ],
)
def test_little_is_something(text):
    assert Empty().find(Said(text)) is None


def test_it_tells_what_the_model_did():
    assert Empty().find(Said(" ", tokens=3)) == "the model ended after 3 tokens with ' '"
