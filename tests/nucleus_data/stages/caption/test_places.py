import pytest

from nucleus_data.stages.caption.places import check_places, columns, filled, places, unknown_places


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("Of {caption}: {alt_text}, {source.alt}", ["alt_text"]),
        ("{source} {sources.alt} {Source.alt}", ["source", "sources.alt", "Source.alt"]),
        ('Answer {"objects": []}, {}, {0}, {{name}} or $\\frac{a}{2}$.', []),
    ],
)
def test_names_in_braces_that_nothing_stands_for(text, unknown):
    assert unknown_places(text) == unknown


def test_places_are_found_in_any_script_and_not_in_double_braces():
    text = "标题{source.image title}、{caption}{made} {{caption}} {{source.x}} {source.image title}"
    assert places(text) == ["source.image title", "caption", "made"]
    assert columns(text) == ["image title"]


def test_what_is_put_into_a_place_is_no_template():
    values = {
        "caption": "{made} {source.title} {caption}",
        "made": "{caption}",
        "source.title": "%",
    }
    text = "A {caption}\nB {made} {source.title}\nC"
    assert filled(text, values) == f"A {values['caption']}\nB {{caption}} %\nC"


def test_a_line_whose_value_is_missing_is_left_out():
    text = "Title: {source.title}\nIn {source.place}, {source.year}.\n\nDescribe it."
    assert filled(text, {"source.title": "Dawn", "source.place": "Oslo"}) == (
        "Title: Dawn\n\nDescribe it."
    )
    assert filled(text, {}) == "\nDescribe it."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("About {titel}.", r"placeholder {titel}; allowed: {caption} .* {source.NAME} .* {made}"),
        ("About {sorce.x}.", r"Did you mean '{source.NAME}'\? .* write {{sorce.x}}"),
        ("About {captions}.", r"Did you mean '{caption}'\?"),
        ("Describe {source.title}.", "every line .* such lines are left out .* on a separate line"),
        ("{source.a}\n\n {source.b}\n", "every line"),
    ],
)
def test_texts_that_are_refused(text, said):
    with pytest.raises(ValueError, match=said):
        check_places(text)


def test_texts_that_are_fine():
    check_places("Title: {source.title}\nDescribe {caption} and {made}.")
