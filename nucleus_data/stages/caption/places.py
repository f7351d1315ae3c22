"""Placeholders ("places") in a prompt: `{caption}`, `{source.NAME}` and `{made}`.

Substituted values are data: they are not scanned for placeholders again, and their braces are plain
characters.
"""

import re
from collections.abc import Mapping

from nucleus_data.config import nearest

CAPTION, MADE, SOURCE = "caption", "made", "source."
ALLOWED = ("{caption}", "{made}", "{source.NAME}")
_PLACE = re.compile(r"(?<!\{)\{(caption|made|source\.[^{}\s](?:[^{}\n]*[^{}\s])?)\}(?!\})")
# `{name}`, and not `{{name}}`, `{"name": 1}` or LaTeX's `\frac{name}`.
_NAME = re.compile(r"(?<![{\\\w])\{([A-Za-z_][A-Za-z0-9_.:]*)\}(?!\})")


def places(text: str) -> list[str]:
    """Returns the names of a text's placeholders, each once, in order."""
    return list(dict.fromkeys(_PLACE.findall(text)))


def between(text: str) -> list[str]:
    """Splits a text at its placeholders, which are left out."""
    return _PLACE.split(text)[::2]  # every second one is the name of a placeholder


def columns(text: str) -> list[str]:
    """Returns the upstream columns that a text refers to: `title` for `{source.title}`."""
    return [name.removeprefix(SOURCE) for name in places(text) if name.startswith(SOURCE)]


def unknown_places(text: str) -> list[str]:
    """Returns names in braces that look like placeholders, but are not among the known ones."""
    return [name for name in _NAME.findall(text) if not _PLACE.fullmatch(f"{{{name}}}")]


def check_places(text: str) -> None:
    """Refuses a text with unknown placeholders, or whose every line may be left out.

    Raises:
        ValueError: Says what is allowed.
    """
    if unknown := unknown_places(text):
        name = unknown[0]
        raise ValueError(
            f"unknown placeholder {{{name}}}; allowed: {{caption}} (the upstream caption),"
            " {source.NAME} (another upstream column), {made} (the caption of the variant named"
            f" by `from`).{nearest(f'{{{name}}}', ALLOWED)} For literal braces, write"
            f" {{{{{name}}}}}"
        )
    if text and all(columns(line) for line in text.split("\n") if line.strip()):
        raise ValueError(
            f"every line of the text has {{{SOURCE}{columns(text)[0]}}} or another column, but"
            " such lines are left out for records without the value; put the question on a separate"
            " line (in YAML, text: |)"
        )


def filled(text: str, values: Mapping[str, str | None]) -> str:
    """Substitutes values for a text's placeholders.

    Args:
        text: The text, with or without placeholders.
        values: Values by placeholder. A line with a `{source.NAME}` that has no value is left out;
            other placeholders without a value stay as they are.
    """
    lines = []
    for line in text.split("\n"):
        if any(values.get(SOURCE + name) is None for name in columns(line)):
            continue
        lines.append(_PLACE.sub(lambda found: values.get(found[1]) or found[0], line))
    return "\n".join(lines)
