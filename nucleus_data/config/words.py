"""Values and names as messages show them."""

import difflib
from collections.abc import Iterable

MOST_SHOWN = 200  # characters of a value in a message


def shown(value: object) -> str:
    """A value as a message shows it: the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text):,} characters)"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint for a mistyped name, with a space before it: ` Did you mean 'x'?`; or nothing."""
    close = difflib.get_close_matches(name, list(allowed), 1)
    return f" Did you mean {close[0]!r}?" if close else ""
