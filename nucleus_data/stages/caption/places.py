"""Places in a prompt: `{caption}`, `{source.NAME}` and `{made}`, and what stands in them.

What is put into a place is data: it is put there once, and its own braces are letters.
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
    """The names of a text's places, each once, in their order."""
    return list(dict.fromkeys(_PLACE.findall(text)))


def columns(text: str) -> list[str]:
    """The upstream columns that a text has a place for: `title` for `{source.title}`."""
    return [name.removeprefix(SOURCE) for name in places(text) if name.startswith(SOURCE)]


def unknown_places(text: str) -> list[str]:
    """Names in braces, as `{caption}` is written, that nothing would be put in place of."""
    return [name for name in _NAME.findall(text) if not _PLACE.fullmatch(f"{{{name}}}")]


def check_places(text: str) -> None:
    """Refuses a text with names in braces that nothing stands for, or that may vanish whole.

    Raises:
        ValueError: With what is allowed.
    """
    if unknown := unknown_places(text):
        name = unknown[0]
        raise ValueError(
            f"the text has {{{name}}}; the places are {{caption}} (the caption that the record came"
            " with), {source.NAME} (another column that it came with) and {made} (the caption of"
            f" the variant that `from` names).{nearest(f'{{{name}}}', ALLOWED)} Written"
            f" {{{{{name}}}}}, the model reads it so"
        )
    if text and all(columns(line) for line in text.split("\n") if line.strip()):
        raise ValueError(
            f"each line of the text has {{{SOURCE}{columns(text)[0]}}} or another column, and such"
            " a line is left out for a record without the value; put the question on a line of its"
            " own (in YAML, text: |)"
        )


def filled(text: str, values: Mapping[str, str | None]) -> str:
    """A text with values in its places.

    Args:
        text: With or without places.
        values: By place. A line whose `{source.NAME}` has None is left out; other places that have
            no value stay as they are written.
    """
    lines = []
    for line in text.split("\n"):
        if any(values.get(SOURCE + name) is None for name in columns(line)):
            continue
        lines.append(_PLACE.sub(lambda found: values.get(found[1]) or found[0], line))
    return "\n".join(lines)
