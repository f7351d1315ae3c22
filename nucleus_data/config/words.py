"""Values and names as messages show them."""

import difflib
import re
from collections.abc import Iterable

from pydantic import AfterValidator

MOST_SHOWN = 200  # characters of a value in a message


def shown(value: object) -> str:
    """A value as a message shows it: the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text):,} characters)"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint for a mistyped name, with a space before it: ` Did you mean 'x'?`; or nothing."""
    close = difflib.get_close_matches(name, list(allowed), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def spelled(pattern: str, words: str) -> AfterValidator:
    """A field's validator for texts that match a pattern as a whole.

    Args:
        pattern: A regular expression.
        words: What it allows, as the message says it after "must be", with an example.
    """
    matches = re.compile(pattern).fullmatch

    def check(text: str) -> str:
        if not matches(text):
            raise ValueError(f"must be {words}")
        return text

    return AfterValidator(check)


# Names that become columns of tables.
SNAKE_CASE = spelled(
    "[a-z][a-z0-9_]*", "lower-case letters, digits and _, beginning with a letter, such as my_name"
)
