import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.cut import Cut

SENTENCES = "Describe this image in two sentences: the objects, then the background."


def test_a_text_that_met_its_limit():
    assert "cut at 96 tokens" in Cut().find(Said("A red ring.", "length", 96, 96))


@pytest.mark.parametrize(
    "text",
    [
        "a red circle and the",
        "A red ring, a blue square and a",
        "A red ring, a blue square,",
        "A man holding an umbrella (",
        "A woman in a red dress stands next to an",
        'A sign that says "closed for',
        "A table with fruit (apples, pears",
        "The image shows the following objects:",
        "This night picture shows",
        "A large green star, a",
        "A square and a small striped",
        "A large black",
        "A red ring is in the top left. The background is",
        "一个红色的圆环。背景是",
    ],
)
def test_ends_in_the_middle(text):
    assert Cut().find(Said(text, template="Describe this image."))


@pytest.mark.parametrize(
    "text",
    [
        "a red circle",
        "A red circle",
        "red ring, blue square, green star, two shapes",
        "A red ring.",
        'A sign that says "sorry, closed"',
        'A sign that says "sorry, closed".',
        'A monitor of 24" on a desk',
        "A portrait of St. Anne with the child",
        "A spider, approx. 5 cm",
        "Vitamin A",
        "the letter A",
        "The sky is a deep blue",
        "Collage of TV shows",
        "What dreams are made of",
        "The man he came with",
        "E. coli under a microscope",
        "Two cats (and a dog)",
        "Wait...",
        "一个蘑菇",
        "一个红色的圆环。背景是蓝色的。",
        "एक मशरूम है यहाँ पर।",
        "Ֆորմուլա 1 մրցավազքային մեքենա:",
        "See it at https://example.org/a-b/",
        "A red ring. The background is pink. (Colors may differ)",
        'A sign says "closed." [translated]',
        "- a red ring on the left\n- a blue square. It is large\n- a green star",
        "rock \u2019n\u2019 roll",
    ],
)
def test_what_is_no_sentence_needs_no_full_stop(text):
    assert Cut().find(Said(text, template="Describe this image.")) is None


def test_sentences_are_ended_if_sentences_are_asked_for():
    said = Said("A large red ring and a blue square", template=SENTENCES)
    assert Cut().find(said)
    assert Cut(sentences=False).find(said) is None
    assert Cut().find(Said("a large red ring and a blue square", template=SENTENCES)) is None
    remark = Said("A red ring. The background is pink. (My best guess)", template=SENTENCES)
    assert Cut().find(remark) is None
    assert Cut().find(Said("A red ring and a (blue) square", template=SENTENCES))
    tags = Said("Red ring, blue square, green star, two shapes", template=SENTENCES)
    assert Cut().find(tags) is None


def test_json_is_not_read_as_sentences():
    assert Cut().find(Said('{"type": "photo", "text": "A dog. It is"}', schema="{}")) is None
    assert Cut().find(Said('{"type": "pho', "length", 9, 9, schema="{}"))


@pytest.mark.parametrize("text", ["A large red ring and a blue square", "A red ring and the", ""])
def test_what_a_stop_text_of_the_variant_ended_is_at_its_end(text):
    assert Cut().find(Said(text, template=SENTENCES, at_stop=True)) is None
    assert Cut().find(Said(text, "length", 9, 9, template=SENTENCES))
