import random

import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.repetition import Repetition, longest_loop, repeated_share
from nucleus_data.stages.caption.checks.text import words_of
from nucleus_data.world.scenes import scene
from nucleus_data.world.words import captions

POEM = """Tyger Tyger, burning bright,
In the forests of the night;
What immortal hand or eye,
Could frame thy fearful symmetry? Tyger Tyger, burning bright, in the forests of the night"""


@pytest.mark.parametrize(
    "text",
    [
        "red ring, " * 6,
        "A ring. A man in a hat, a man in a hat, a man in a hat, a man in a hat",
        'The sign reads "STOP STOP STOP STOP STOP STOP STOP STOP STOP"',
        "A cat sits on the mat. " * 5,
        "The cat is on the left. The dog is on the right. " * 4,
        "a tree, a house, a car, a tree, a house, a car, a tree, a house, a car",
        ", ".join(f"shape {i}" for i in range(12)),
        "一只红色的猫，一只红色的猫，一只红色的猫，一只红色的猫，",
        "redredredredredredredred",
        "A small yellow cross is in the top left. A. A. A. A. A. A. A. A. A",
        "ไฟใหม้ไฟใหม้ไฟใหม้ไฟใหม้ไฟใหม้ไฟใหม้",
    ],
)
def test_loops(text):
    assert Repetition().find(Said(text))


@pytest.mark.parametrize(
    "text",
    [
        "a red circle",
        "red, red and blue",
        "Row, row, row your boat",
        "very, very, very old",
        "Ho ho ho! Merry Christmas!",
        "ไฟใหม้! ไฟใหม้! ไฟใหม้!",
        "red ring, red square, red star, red heart, red cross, blue ring, blue square, blue star",
        "2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24",
        "1 cent, 2 cents, 5 cents, 10 cents, 20 cents, 50 cents, 1 euro, 2 euros",
        "New York, New York, a wonderful town",
        "A small red ring is in the top left. A small red ring is in the top right. A small red"
        " ring is in the center. A small red ring is in the bottom left.",
        "A keyboard with the keys Q, W, E, R, T, Y, U, I, O, P, A, S, D, F, G, H, J, K, L.",
        POEM,
        "https://example.org/aaaaaaaa/bbbbbbb",
        "日日是好日",
    ],
)
def test_lists_poems_and_enumerations_are_none(text):
    assert Repetition().find(Said(text)) is None


def test_true_captions_of_the_world_are_none():
    texts = [
        text for index in range(40) for text in captions(scene(91_000, index, "full")).values()
    ]
    assert [text for text in texts if Repetition().find(Said(text))] == []


def test_of_json_the_values_count():
    text = (
        '{"objects": [' + ", ".join(f'{{"kind": "ring", "color": "c{i}"}}' for i in range(5)) + "]}"
    )
    assert Repetition().find(Said(text, schema="{}")) is None


def test_the_longest_loop():
    words = words_of("it is on off on off on off on off up up")
    assert longest_loop(words, 8) == (2, 2, 8)
    assert longest_loop(words, 9) is None


def test_the_share_of_words_that_were_there_before():
    words = tuple("abcdefgh")
    assert repeated_share(words + words) == 0.5
    assert repeated_share(words + tuple("ijklmnop")) == 0


def test_the_longest_loop_is_that_of_every_block_tried():
    rng = random.Random(0)
    for _ in range(200):
        words = rng.choices("abcd", k=rng.randrange(1, 40))
        at, block = rng.randrange(len(words)), rng.randrange(1, 13)
        words[at:at] = words[at : at + block] * rng.randrange(2, 7)
        assert longest_loop(tuple(words), 8) == tried(words, 8), words


def tried(words, fewest):
    """The longest loop, by every block, beginning and length."""
    best = None
    for block in range(1, min(40, len(words) // 3) + 1):
        needed = max(fewest, (3 if block >= 4 else 4) * block)
        same = [words[at] == words[at - block] for at in range(block, len(words))]
        for start in range(len(same)):
            length = next((n for n, one in enumerate(same[start:]) if not one), len(same) - start)
            length += block
            if length >= needed and (best is None or length > best[2]):
                best = start, block, length
    return best
