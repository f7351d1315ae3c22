import pytest

from nucleus_data.engines.thinking import opens_thinking, without_thinking


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
