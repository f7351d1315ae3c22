"""JSON from outside: an object's fields, whatever its numbers and however deep it is."""

import json
from typing import Any

# Python's own limit depends on how deep its caller stands: an earlier one, so that all agree.
MOST_DEPTH = 200
_DIGITS = 20


def parsed(text: str) -> dict[str, Any] | None:
    """A JSON object's fields; None if it is no JSON, no object, or nested too deep."""
    try:
        content = json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and not _is_deep(content) else None


def _is_deep(content: Any) -> bool:
    """Whether lists and objects are nested deeper than `MOST_DEPTH`."""
    level = [content]
    for _ in range(MOST_DEPTH):
        inner = (value.values() if isinstance(value, dict) else value for value in level)
        level = [v for values in inner for v in values if isinstance(v, dict | list)]
        if not level:
            return False
    return True


def _integer(digits: str) -> int | str:
    """An integer; one that no column holds stays the text that it is."""
    if len(digits) <= _DIGITS and -(1 << 63) <= (value := int(digits)) < 1 << 63:
        return value
    return digits
