"""Removes a model's reasoning ("thinking") from its answers; it is never stored.

Reasoning models write it between a pair of marks, usually `<think>…</think>`. Some chat templates
already contain the opening mark, so that the answer has only the closing one. In some tokenizers
the marks are special tokens, which decoding omits: the reasoning alone would be left, and nothing
would tell it from the answer. `Answers` tells an engine when it must decode them.
"""

import re
from collections.abc import Iterable
from typing import Any

# The forms that the reasoning parsers of vLLM 0.32 read, and those of common fine-tunes.
MARKS = (
    ("<think>", "</think>"),  # Qwen, DeepSeek, GLM, MiniMax-M2, Step3, Ernie, Hunyuan
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("◁think▷", "◁/think▷"),  # Kimi-VL
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),  # Kimi K3
    ("<seed:think>", "</seed:think>"),  # Seed
    ("<mm:think>", "</mm:think>"),  # MiniMax-M3
    ("[THINK]", "[/THINK]"),  # Magistral and other models of Mistral
    ("<|channel>", "<channel|>"),  # Gemma 4
    ("<|channel|>analysis", "<|channel|>final<|message|>"),  # gpt-oss
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1 and what was trained on its data
)
# Marks around the whole answer that follows the thinking.
WRAPPERS = (
    ("<|begin_of_solution|>", "<|end_of_solution|>"),  # Sky-T1
    ("<|open|>response<|sep|>", "<|close|>response<|sep|>"),  # Kimi K3
    ("<answer>", "</answer>"),  # GLM-4.1V, Hunyuan
    ("<response>", "</response>"),  # Ernie
)
BOXES = re.compile(r"<\|(?:begin|end)_of_box\|>")  # GLM marks the gist of an answer, anywhere in it


class Answers:
    """Finds the answers in a model's output.

    Args:
        special: Texts of the tokenizer's special tokens.

    Attributes:
        marked: Whether marks of thinking contain special tokens, so that the output must be decoded
            with its special tokens.
    """

    def __init__(self, special: Iterable[str]) -> None:
        known = {token for token in special if len(token) > 1}
        marks = {token for token in known if any(token in mark for pair in MARKS for mark in pair)}
        self.marked = bool(marks)
        self._all, self._others = _any_of(known), _any_of(known - marks)

    @classmethod
    def of(cls, tokenizer: Any) -> "Answers":
        """Returns the answers of a model by its tokenizer, which is one of transformers."""
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        return cls([*tokenizer.all_special_tokens, *(one.content for one in added if one.special)])

    def text(self, output: str, *, opened: bool = False) -> str:
        """Returns the answer in an output, without thinking, special tokens and white space around.

        Args:
            output: The output; if `marked`, with special tokens.
            opened: Whether the prompt ends inside a block of thinking (see `opens_thinking`).
        """
        if not self.marked:
            return without_thinking(output, opened=opened)
        answer = without_thinking(self._others.sub("", output), opened=opened)
        return self._all.sub("", answer).strip()


def without_thinking(text: str, *, opened: bool = False) -> str:
    """Removes blocks of thinking from a model's output, and marks around its answer.

    Args:
        text: The output.
        opened: Whether the prompt ends inside a block of thinking (see `opens_thinking`).

    Returns:
        The text behind the last closing mark, without surrounding white space. It is empty if a
        block is not closed, as the output was then cut before an answer began.
    """
    for opening, closing in MARKS:
        _, closed, after = text.rpartition(closing)
        if closed:
            text, opened = after, False
        elif opened and opening in text:
            return ""  # the model repeated the opening mark, and did not close the block
        # Keep an answer before an opening mark: that block belongs to what would have followed.
        text = text.partition(opening)[0]
    return "" if opened else _unwrapped(text)


def _unwrapped(text: str) -> str:
    """Returns an answer without marks around it."""
    text = BOXES.sub("", text).strip()
    for opening, closing in WRAPPERS:
        # A caption may quote such a mark, but hardly begins with one.
        if text.startswith(opening):
            text = text.removeprefix(opening).partition(closing)[0].strip()
    return text


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Returns a pattern that finds tokens; of several at one place, the longest."""
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def opens_thinking(prompt: str) -> bool:
    """Returns whether a rendered prompt ends inside a block of thinking."""
    return any(prompt.rfind(opening) > prompt.rfind(closing) for opening, closing in MARKS)
