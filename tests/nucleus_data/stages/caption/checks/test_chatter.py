import pytest

from nucleus_data.stages.caption.checks.chatter import Chatter
from nucleus_data.stages.caption.checks.check import Said


@pytest.mark.parametrize(
    "text",
    [
        "Sure! Here is a caption: a red ring.",
        "Certainly. Here's the description of the image: a red ring",
        "Here are the tags for the image: ring, red",
        "Caption: a red ring",
        "Short caption: a red ring",
        "A red ring. Let me know if you need more!",
        "A red ring. I hope this helps.",
        "```\na red ring\n```",
        "Hier ist eine Beschreibung des Bildes: ein roter Ring",
        "Voici une description : un anneau rouge",
        "好的，这是一张图片。",
    ],
)
def test_words_to_the_asker(text):
    assert Chatter().find(Said(text))


@pytest.mark.parametrize(
    "text",
    [
        "Sure deodorant on a shelf",
        "Here is a lion in its den: a print by Dürer",
        "A label with the caption: a red ring",
        "A card that reads 'Let me know'",
        "Okay, a small town in a valley",
        "Certainly the oldest house of the street",
        "a red circle",
        "A note: it says nothing",
    ],
)
def test_the_same_words_of_a_picture(text):
    assert Chatter().find(Said(text)) is None


def test_json_has_its_own_check():
    assert Chatter().find(Said("```json\n{}\n```", schema="{}")) is None


@pytest.mark.parametrize(
    "text",
    [
        "**Caption:** a red ring",
        "# Caption\nA red ring.",
        "As requested, here is the caption: a red ring",
        "Thank you for sharing this picture! A red ring.",
        "Happy to help! A red ring.",
        "A red ring. Does this help?",
        "A red ring. I've kept it short, as you asked.",
        "A red ring. The caption above is two sentences long.",
        "What a lovely picture! A red ring.",
    ],
)
def test_words_to_the_asker_by_their_kind(text):
    assert Chatter().find(Said(text))


def test_a_question_that_is_the_caption_is_none_to_the_asker():
    assert not Chatter().find(Said("Where is the red ring?"))
