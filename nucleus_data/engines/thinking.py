"""Removes a model's reasoning ("thinking") from its answers; it is never stored.

Reasoning models write it between a pair of marks, usually `<think>…</think>`. Some chat templates
already contain the opening mark, so that the answer has only the closing one.
"""

# Marks of Qwen, DeepSeek and GLM; two further common ones; of Kimi; of Seed.
MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"),
)


def without_thinking(text: str, *, opened: bool = False) -> str:
    """Removes blocks of thinking from a model's output.

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
    return "" if opened else text.strip()


def opens_thinking(prompt: str) -> bool:
    """Returns whether a rendered prompt ends inside a block of thinking."""
    return any(prompt.rfind(opening) > prompt.rfind(closing) for opening, closing in MARKS)
