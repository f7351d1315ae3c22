"""The prompts that have a name; a configuration may give texts of its own instead.

A text with `{caption}` in it is about the caption that the record came with.
"""

import re
import unicodedata

PROMPTS: dict[str, str] = {
    "tags": "List what is in this image as tags, separated by commas.",
    "very_short": "Describe this image in one sentence: the objects, nothing else.",
    "short": "Describe this image in two sentences: the objects, then the background.",
    "medium": (
        "Describe this image in three to six sentences: the objects, their places, the background."
    ),
    "long": (
        "Describe this image in one detailed paragraph: the objects, their places, how they lie to"
        " each other, the background and the light."
    ),
    "refine": (
        "Someone wrote of this image: {caption}\n"
        "Write two sentences that are true: the objects, then the background. Keep what is right."
    ),
}
PLACEHOLDER = "{caption}"
NOTHING = "nothing"
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")  # Unicode's categories
# `{name}`, and not `{{name}}`, `{"name": 1}` or LaTeX's `\frac{name}`.
_NAME = re.compile(r"(?<![{\\\w])\{([A-Za-z_][A-Za-z0-9_.:]*)\}(?!\})")


def question(text: str, caption: str | None) -> str:
    """What the model is asked: the text, with the record's caption in its place.

    Args:
        text: A prompt, with or without `{caption}`.
        caption: The record's; None, or one without a visible character, reads as `nothing`.

    Returns:
        The text. The caption's own braces stay as they are.
    """
    return text.replace(PLACEHOLDER, caption.strip() if caption and visible(caption) else NOTHING)


def visible(text: str) -> bool:
    """Whether a text has a character that can be seen: no space, control character or mark."""
    return any(unicodedata.category(character) not in INVISIBLE for character in text)


def unknown_places(text: str) -> list[str]:
    """Names in braces, as `{caption}` is written, that nothing would be put in place of."""
    return [name for name in _NAME.findall(text) if f"{{{name}}}" != PLACEHOLDER]
