"""Parses JSON objects from upstream robustly, whatever their numbers and depth."""

import json
from typing import Any

# Below Python's own limit, which depends on the caller's stack depth, so that all callers agree.
MOST_DEPTH = 200
_DIGITS = 20


def parsed(text: str) -> dict[str, Any] | None:
    """Parses a JSON object; returns None if it is not one, or is nested too deeply."""
    try:
        content = json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and not _is_deep(content) else None


def _is_deep(content: Any) -> bool:
    """Returns whether lists and objects are nested more deeply than `MOST_DEPTH`."""
    level = [content]
    for _ in range(MOST_DEPTH):
        inner = (value.values() if isinstance(value, dict) else value for value in level)
        level = [v for values in inner for v in values if isinstance(v, dict | list)]
        if not level:
            return False
    return True


def _integer(digits: str) -> int | str:
    """Parses an integer; one that does not fit into 64 bits remains text."""
    if len(digits) <= _DIGITS and -(1 << 63) <= (value := int(digits)) < 1 << 63:
        return value
    return digits
