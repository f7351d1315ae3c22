from pathlib import Path

import pytest

from nucleus_data.engines import find
from nucleus_data.engines.thinking import MARKS, Answers, opens_thinking, without_thinking


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("a red ring", "a red ring"),
        ("  a red ring \n", "a red ring"),
        ("<think>It is\nround.</think>\n\na red ring", "a red ring"),
        ("<think>\n\n</think>\n\na red ring", "a red ring"),
        ("It is round.</think>a red ring", "a red ring"),
        ("<think>one</think>no<think>two</think>a red ring", "a red ring"),
        ("<think>a <think>b</think> c</think>a red ring", "a red ring"),
        ("<thinking>x</thinking> a red ring", "a red ring"),
        ("◁think▷x◁/think▷a red ring", "a red ring"),
        ("<seed:think>x</seed:think>a red ring", "a red ring"),
        ("[THINK]It is round.[/THINK]a red ring", "a red ring"),
        ("It is round.[/THINK]a red ring", "a red ring"),
        ("<thought>x</thought>\na red ring", "a red ring"),
        ("<mm:think>x</mm:think>a red ring", "a red ring"),
        ("<|channel>thought\nIt is round.<channel|>a red ring", "a red ring"),
        ("<|channel>thought\n<channel|>a red ring", "a red ring"),
        (
            "<|channel|>analysis<|message|>It is round.<|end|><|start|>assistant"
            "<|channel|>final<|message|>a red ring",
            "a red ring",
        ),
        ("<|channel|>analysis<|message|>It is round, and", ""),
        ("<|channel|>final<|message|>a red ring", "a red ring"),
        ("<|START_THINKING|>x<|END_THINKING|>a red ring", "a red ring"),
        (
            "<|open|>think<|sep|>x<|close|>think<|sep|><|open|>response<|sep|>a red ring"
            "<|close|>response<|sep|><|close|>message<|sep|>",
            "a red ring",
        ),
        (
            "<|begin_of_thought|>x<|end_of_thought|>\n\n<|begin_of_solution|>\na red ring\n"
            "<|end_of_solution|>",
            "a red ring",
        ),
        ("<think>x</think>\n<answer>\na red ring\n</answer>", "a red ring"),
        ("<think>x</think><answer>a red ring", "a red ring"),
        ("<think>x</think><answer>a red ring</answer> I hope it helps.", "a red ring"),
        ("<think>x</think><response>a red ring</response>", "a red ring"),
        ("<think>x</think><|begin_of_box|>a red ring<|end_of_box|>", "a red ring"),
        (
            "<think>x</think><answer>It is <|begin_of_box|>a red ring<|end_of_box|>.</answer>",
            "It is a red ring.",
        ),
        (
            "code that says <answer>1</answer> on a page",
            "code that says <answer>1</answer> on a page",
        ),
        ("<think>It is round, and", ""),
        ("<think>", ""),
        ("<think>It is round.</think>", ""),
        ("a red ring <think>or was it", "a red ring"),
        ("", ""),
        ("1 < 2 and think> of it", "1 < 2 and think> of it"),
    ],
)
def test_the_answer_alone_is_left(said, answer):
    assert without_thinking(said) == answer


def test_a_block_that_the_template_opened_and_nobody_closed_is_no_answer():
    assert without_thinking("It is round, and", opened=True) == ""
    assert without_thinking("<think>It is round, and", opened=True) == ""
    assert without_thinking("It is round.</think>a red ring", opened=True) == "a red ring"


def test_a_prompt_tells_whether_it_ends_inside_a_block():
    assert opens_thinking("<|im_start|>assistant\n<think>\n")
    assert not opens_thinking("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not opens_thinking("<|im_start|>assistant\n")
    assert not opens_thinking("[THINK]your thoughts[/THINK]<|im_start|>assistant\n")


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_each_form_is_removed_closed_and_unclosed(opening, closing):
    assert without_thinking(f"{opening}x{closing}a red ring") == "a red ring"
    assert without_thinking(f"x{closing}a red ring", opened=True) == "a red ring"
    assert without_thinking(f"{opening}x", opened=True) == without_thinking(f"{opening}x") == ""
    assert opens_thinking(f"assistant{opening}")
    assert not opens_thinking(f"assistant{opening}{closing}")


class TestSpecialTokens:
    """Where a tokenizer has marks as special tokens, decoding would omit them."""

    @pytest.mark.parametrize(
        ("special", "said"),
        [
            (["<think>", "</think>"], "<think>It is round.</think><|im_end|>a red ring<|im_end|>"),
            (["[THINK]", "[/THINK]"], "[THINK]It is round.[/THINK]a red ring"),
            (["<|channel>", "<channel|>"], "<|channel>thought\nround<channel|>a red ring"),
            (
                ["<|channel|>", "<|message|>", "<|start|>", "<|end|>"],
                "<|channel|>analysis<|message|>round<|end|><|start|>assistant<|channel|>final"
                "<|message|>a red ring<|end|>",
            ),
            (["</think>", "<|begin_of_box|>"], "round</think><|begin_of_box|>a red ring"),
            (["<|sep|>"], "a red ring<|sep|>"),  # of a model without thinking
        ],
    )
    def test_they_are_decoded_and_not_in_the_answer(self, special, said):
        tokenizers = pytest.importorskip("tokenizers")
        own = tokenizers.Tokenizer.from_file(str(Path(find.CAPTIONER.nano) / "tokenizer.json"))
        own.add_special_tokens(special)
        answers = Answers(t.content for t in own.get_added_tokens_decoder().values() if t.special)
        assert answers.marked
        tokens = own.encode(said).ids
        assert "<" not in (omitted := own.decode(tokens)), "the marks are special"
        assert "[" not in omitted
        assert answers.text(own.decode(tokens, skip_special_tokens=False)) == "a red ring"
        assert answers.text("It is round, and", opened=True) == ""

    def test_without_marks_special_tokens_need_not_be_decoded(self):
        answers = Answers(["<s>", "</s>", "<|im_end|>", "<|image_pad|>", "<|vision_start|>", "<"])
        assert not answers.marked
        assert answers.text("<think>x</think> a red </s>ring") == "a red </s>ring"
