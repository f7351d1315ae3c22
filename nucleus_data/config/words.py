"""Words values and names for error messages."""

import difflib
import re
from collections.abc import Iterable

from pydantic import AfterValidator

MOST_SHOWN = 200  # characters of a value in a message


def shown(value: object) -> str:
    """Returns a value's `repr`, truncated to 200 characters with a note of its length."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text):,} characters)"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Returns a hint for a mistyped name, ` Did you mean 'x'?`; empty if no name is close."""
    close = difflib.get_close_matches(name, list(allowed), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def spelled(pattern: str, words: str) -> AfterValidator:
    """Makes a field validator that requires a text to match a pattern completely.

    Args:
        pattern: A regular expression.
        words: What the pattern allows, with an example; the message puts it after "must be".
    """
    matches = re.compile(pattern).fullmatch

    def check(text: str) -> str:
        if not matches(text):
            raise ValueError(f"must be {words}")
        return text

    return AfterValidator(check)


# For names that become columns of tables.
SNAKE_CASE = spelled(
    "[a-z][a-z0-9_]*", "lower-case letters, digits and _, beginning with a letter, such as my_name"
)
