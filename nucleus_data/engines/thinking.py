"""What a model thinks before it answers is no part of the answer: it is taken away, never stored.

Models that think write it in a pair of marks, `<think>…</think>` most of them. Some chat templates
write the opening mark themselves, so that an answer has the closing one alone.
"""

# Marks of Qwen, DeepSeek and GLM; of models that write tags of their own; of Kimi; of Seed.
MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"),
)


def without_thinking(text: str, *, opened: bool = False) -> str:
    """An answer without what the model thought.

    Args:
        text: What the model wrote.
        opened: Whether the prompt ends inside a block, as `opens_thinking` tells.

    Returns:
        The text behind the last closing mark, without white space around it. It is empty if a block
        is not closed: the model was cut while it thought, and answered nothing.
    """
    for opening, closing in MARKS:
        _, closed, after = text.rpartition(closing)
        if closed:
            text, opened = after, False
        elif opened and opening in text:
            return ""  # it opened the block once more, and never closed it
        # A block that is opened behind an answer belongs to what comes next: the answer stays.
        text = text.partition(opening)[0]
    return "" if opened else text.strip()


def opens_thinking(prompt: str) -> bool:
    """Whether a rendered prompt leaves a block open, which the model then goes on with."""
    return any(prompt.rfind(opening) > prompt.rfind(closing) for opening, closing in MARKS)
