import pytest

from nucleus_data.stages.caption.checks.check import Said
from nucleus_data.stages.caption.checks.leak import Leak

TEMPLATE = (
    "Someone wrote of this image: {caption}\n"
    "Write two sentences that are true: the objects, then the background. Keep what is right."
)


@pytest.mark.parametrize(
    "text",
    [
        "A red ring.<|im_end|>",
        "<image> a red ring",
        "[INST] describe [/INST]",
        "<think>the user wants</think> a ring",
        "assistant\nA red ring.",
        "user: describe this",
        "Write two sentences that are true: the objects, then the background.",
        "A ring. Keep what is right.",
        "Someone wrote of this image: a red ring",
        "It is about {caption}.",
        "a ring<0x0A>",
        "A blue heart<IMG_CONTEXT>. The background is pink.",
        "A blue heart<end_of_utterance>",
        "A blue heart[IMG_END].",
    ],
)
def test_leaks(text):
    assert Leak().find(Said(text, template=TEMPLATE))


@pytest.mark.parametrize(
    "text",
    [
        "A red ring and a blue square. The background is grey.",
        "The objects, then the background",
        "User interface of a bank's app",
        "Two people; a < b and c > d on a board",
        "An assistant hands over a scalpel",
        "A shirt that reads <HELLO>",
        "A key labelled [CAPS LOCK], a_b <c d>",
        "",
    ],
)
def test_none(text):
    assert Leak().find(Said(text, template=TEMPLATE)) is None


def test_an_upstream_caption_may_be_kept():
    caption = "a very large red ring above a small blue square at night"
    question = TEMPLATE.replace("{caption}", caption)
    assert (
        Leak().find(Said(caption, template=TEMPLATE, question=question, upstream=caption)) is None
    )


def test_an_answer_does_not_begin_as_the_question():
    template = "Describe this image in two sentences: the objects, then the background."
    assert Leak().find(Said("Describe this image in two sentences.", template=template))
    assert Leak().find(Said("Describe this image", template=template)) is None


def test_the_system_prompt_leaks_too():
    system = "You describe images for training a text-to-image model."
    assert Leak().find(Said(f"{system} A ring.", template="Describe.", system=system))


def test_chinese_runs_are_of_characters():
    template = "请用两句话描述这张图片：先说物体，再说背景。"
    assert Leak().find(Said("请用两句话描述这张图片", template=template))
    assert Leak().find(Said("这张图片里有一只猫", template=template)) is None
